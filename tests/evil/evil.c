/*
 * What a process of nsfwd does once a peer has hijacked it. The test build has
 * the files of this folder, and the linker's --wrap leads calls between files of
 * nsfwd here: each __wrap_ function is a place where a peer could hijack a
 * process.
 *
 * With EVIL in the environment, a client from 127.66.N.S has attack N run at
 * stage S, so that one server does for all; see attack_of() and enum stage. A
 * connection or worker sends the result to the client, a mapper writes it to its
 * log: "evil S NAME yes N", or "evil S NAME no ERRNO". If the process is killed, the
 * client is reset without a result. EVIL=old is a kernel without landlock(7).
 * EVIL=list prints the names of the attacks.
 */

#include <netinet/in.h>
#include <poll.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/addr.h"
#include "base/array.h"
#include "config/endpoint.h"
#include "config/map.h"
#include "dial/conn.h"
#include "dial/dial.h"
#include "dial/dialer.h"
#include "mapper/mapper.h"
#include "mapper/scoreboard.h"
#include "proxy/forward.h"
#include "proxy/proxy_protocol.h"
#include "proxy/server.h"
#include "relay.h"
#include "tcp/conn.h"
#include "tcp/fork.h"
#include "tcp/kept.h"
#include "tcp/pool.h"
#include "tcp/table.h"
#include "tcp/tcp.h"
#include "tcp/worker.h"
#include "udp/associate.h"
#include "udp/udp.h"

#include "tests/evil/evil.h"

/* Where a process is hijacked. */
enum stage {
	HANDSHAKE = 1, /* a connection, before the first byte of its client */
	DIAL,          /* a connection, before it dials */
	RELAY,         /* a connection, before it relays */
	FORWARD,       /* before a plain HTTP request is forwarded */
	ASSOCIATE,     /* before datagrams of a SOCKS client are relayed */
	WORKER,        /* a worker, when it has accepted */
	UDP_MAPPER,    /* when it sees a new client */
	TCP_MAPPER,    /* when it has accepted */
	KEPT           /* a process that is kept, when it has another client */
};

const struct mapper_args *args;
const struct tables *tables;
const struct conn *victim;
pid_t mapper;
void *used_count, *other_counts;
int own_table;
static const char *mode; /* EVIL */
static bool in_worker;
static int reader = -1; /* of the result; -1: the client of the attack */

void
report_to(int client)
{
	reader = client;
}

/* Returns attack n, or NULL. */
static const struct attack *
attack_of(uint32_t n)
{
	static const struct attack *const kinds[] = {process_attacks,
	    descriptor_attacks, socket_attacks, kept_attacks, memory_attacks};

	for (size_t i = 0; i < ARRAY_LEN(kinds); i++)
		for (const struct attack *a = kinds[i]; a->name; a++)
			if (n-- == 0)
				return a;
	return NULL;
}

/* Reads the environment, which the title of a process may overwrite later. */
__attribute__((constructor)) static void
evil_init(void)
{
	const char *value = getenv("EVIL");

	mode = !value ? NULL : strcmp(value, "old") == 0 ? "old" : "on";
	if (!value || strcmp(value, "list") != 0)
		return;
	for (uint32_t n = 0; attack_of(n); n++)
		puts(attack_of(n)->name);
	exit(0);
}

/* Returns the attack that the peer's address asks for at a stage, or NULL. */
static const struct attack *
asked_attack(enum stage stage, const union sockaddr_inet *peer)
{
	uint32_t addr = ntohl(peer->v4.sin_addr.s_addr);

	return peer->sa.sa_family != AF_INET || addr >> 16 != 0x7f42 ||
		(addr & 0xff) != stage || !mode
	    ? NULL
	    : attack_of(addr >> 8 & 0xff);
}

/*
 * Gives up all descriptors but the client's, so that the mapper hands over no
 * other, and stays as long as the client, while others are served.
 */
static void
stay(int client, const char *text)
{
	char byte;

	for (int fd = client + 1; fd < 1024; fd++)
		close(fd);
	send(client, text, strlen(text), MSG_NOSIGNAL);
	while (poll(&(struct pollfd){client, POLLIN, 0}, 1, -1) == 1 &&
	    recv(client, &byte, 1, 0) > 0)
		;
}

/* Runs the attack that the peer asks for. Returns false if none. */
static bool
attack(enum stage stage, const union sockaddr_inet *peer, int client)
{
	const struct attack *a = asked_attack(stage, peer);
	char text[128];
	long got;

	if (!a)
		return false;
	forged[14] = (char)('0' + stage);
	got = a->run();
	snprintf(text, sizeof(text), "evil %d %s %s %ld\n", stage, a->name,
	    got < 0 ? "no" : "yes", got < 0 ? -got : got);
	if (reader != -1)
		client = reader;
	if (client == -1)
		write(2, text, strlen(text));
	else if (stage == KEPT)
		stay(client, text);
	else
		send(client, text, strlen(text), MSG_NOSIGNAL);
	return true;
}

static void
attack_and_exit(enum stage stage)
{
	if (victim && attack(stage, &victim->peer, victim->client))
		_exit(0);
}

/* The declarations have the type of the program, so that no other compiles. */
#define WRAP(type, name, ...)                                 \
	extern __typeof__(name) __real_##name, __wrap_##name; \
	type __wrap_##name(__VA_ARGS__)

static void
started(const struct mapper_args *a)
{
	args = a;
	mapper = getpid();
	used_count = &a->scoreboard->used;
	other_counts = scoreboard_counts(a->scoreboard, a->slot ? 0 : 1);
}

WRAP(int, fork_init, const struct mapper_args *a)
{
	started(a);
	return __real_fork_init(a);
}

WRAP(int, kept_init, const struct mapper_args *a)
{
	started(a);
	return __real_kept_init(a);
}

WRAP(int, pool_init, const struct mapper_args *a)
{
	started(a);
	return __real_pool_init(a);
}

WRAP(int, udp_init, const struct mapper_args *a)
{
	started(a);
	return __real_udp_init(a);
}

WRAP(struct tables *, tables_init, const struct map *map, uint32_t n,
    uint32_t capacity)
{
	struct tables *made = __real_tables_init(map, n, capacity);
	static struct {
		struct tables tables;
		struct table items[WORKERS_MAX];
	} copy; /* which connections have */

	memcpy(&copy, made, sizeof(struct tables) + n * sizeof(struct table));
	tables = &copy.tables;
	return made;
}

WRAP(int, proxy_read_request, struct proxy_session *s)
{
	attack_and_exit(HANDSHAKE);
	return __real_proxy_read_request(s);
}

WRAP(int, pp_read, const struct io *io, union sockaddr_inet *from,
    union sockaddr_inet *to, struct pp_tlvs *tlvs)
{
	attack_and_exit(HANDSHAKE);
	return __real_pp_read(io, from, to, tlvs);
}

WRAP(int, dial, const struct conn *conn, int *error)
{
	victim = conn;
	attack_and_exit(DIAL);
	return __real_dial(conn, error);
}

WRAP(int, relay, int epoll, int client, int target, bool tcp, int error,
    const struct timeouts *times, struct conn_report *report)
{
	attack_and_exit(RELAY);
	return __real_relay(epoll, client, target, tcp, error, times, report);
}

WRAP(enum forward, proxy_forward, struct proxy_session *s, int target,
    struct conn_report *report, int *error)
{
	attack_and_exit(FORWARD);
	return __real_proxy_forward(s, target, report, error);
}

WRAP(enum end_reason, udp_associate, const struct conn *conn)
{
	victim = conn;
	attack_and_exit(ASSOCIATE);
	return __real_udp_associate(conn);
}

WRAP(void, conn_main, struct conn *conn, int last_fd, unsigned role)
{
	victim = conn;
	__real_conn_main(conn, last_fd, role);
}

/* A process that has served nobody asks its client to come again. */
WRAP(int, conn_serve, struct conn *conn, unsigned role)
{
	static bool used;
	const bool first = conn->kept && !used;

	victim = conn;
	used = true;
	if (!conn->kept || !asked_attack(KEPT, &conn->peer))
		return __real_conn_serve(conn, role);
	if (!first)
		attack_and_exit(KEPT);
	send(conn->client, "again\n", 6, MSG_NOSIGNAL);
	conn->report->end = END_CLOSED;
	return 0;
}

WRAP(void, dialer_init, struct dialer *d, const struct conn *conn,
    struct dns_addr *resolved)
{
	victim = conn;
	if (in_worker)
		attack(WORKER, &conn->peer, conn->client);
	__real_dialer_init(d, conn, resolved);
}

WRAP(void, worker_main, struct tcp *t, uint32_t number, int lifeline)
{
	own_table = (int)number;
	in_worker = true;
	__real_worker_main(t, number, lifeline);
}

WRAP(bool, map_allows_client, const struct map *map,
    const union sockaddr_inet *client)
{
	attack(map->proto == PROTO_UDP ? UDP_MAPPER : TCP_MAPPER, client, -1);
	return __real_map_allows_client(map, client);
}

/* Not all calls have six arguments; what stands in place of others is ignored. */
WRAP(__attribute__((no_sanitize_address)) long, syscall, long number, ...)
{
	va_list list;
	long a[6];

	va_start(list, number);
	for (size_t i = 0; i < ARRAY_LEN(a); i++)
		a[i] = va_arg(list, long);
	va_end(list);
	if (number == SYS_landlock_create_ruleset && mode &&
	    strcmp(mode, "old") == 0) {
		errno = ENOSYS;
		return -1;
	}
	return __real_syscall(number, a[0], a[1], a[2], a[3], a[4], a[5]);
}
