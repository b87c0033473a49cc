/* Opens a UDP socket in the listen namespace for each association. */

/*
 * Theory of operation
 *
 * A mapper is in the target namespace and cannot open sockets in the listen
 * namespace, but a client may ask for UDP at any time. So the mapper of a proxy
 * has an opener, which entered the listen namespace and gave up all rights
 * before the first client came. The mapper gives each connection a pipe to the
 * opener and a socket from it, see tcp/handover.h. A connection asks the
 * opener, not the mapper, because a hijacked one could block who reads from it.
 *
 * The opener keeps no UDP socket. Of each association it has the pipe, which
 * hangs up when the connection ends.
 */

#include <errno.h>
#include <limits.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/types.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/errname.h"
#include "base/fd.h"
#include "base/io.h"
#include "base/landlock.h"
#include "base/log.h"
#include "base/proctitle.h"
#include "base/sandbox.h"
#include "base/seccomp.h"
#include "config/endpoint.h"
#include "config/map.h"
#include "mapper/command.h"
#include "netns.h"
#include "server/bind.h"
#include "server/opener.h"
#include "tcp/handover.h"

#define OPENER_ROLE     (SANDBOX_BIND | SANDBOX_HANDOVER)
#define OPENER_READY_MS 5000
#define LOW_PORT        1024 /* ports below take a capability */

/* The data of an event: the ends of a connection, and what it has had. */
#define FD_BITS      30
#define FD_MASK      (((uint64_t)1 << FD_BITS) - 1)
#define ASK(data)    ((int)((data)&FD_MASK))
#define ANSWER(data) ((int)((data) >> FD_BITS & FD_MASK))
#define SIX          ((uint64_t)1 << 2 * FD_BITS)
#define GRANTED      (SIX << 1) /* a socket */
#define EVENTS       64

struct opener {
	const struct map *map;
	int mapper; /* the channel of the mapper */
	int epoll;
	unsigned n, max; /* associations */
	unsigned next;   /* index of the port to try first */
};

/* Watches ASK(data), or changes its events and data. Returns -1 with errno. */
static int
opener_watch(const struct opener *o, int op, uint64_t data, uint32_t events)
{
	struct epoll_event ev = {.events = events, .data.u64 = data};

	return epoll_ctl(o->epoll, op, ASK(data), &ev);
}

static void
log_refusal(const struct opener *o, int err)
{
	const struct port_range *ports = &o->map->udp_ports;

	if (err == ENOBUFS)
		log_ratelimited("'%s': UDP ASSOCIATE refused: the limit is %u",
		    o->map->spec, o->max);
	else if (err == EADDRINUSE && ports->first)
		log_ratelimited("'%s': UDP ASSOCIATE refused: no port of "
				"udp-ports=%u-%u is free",
		    o->map->spec, ports->first, ports->last);
	else
		log_ratelimited("'%s': UDP ASSOCIATE refused: %s", o->map->spec,
		    errno_name(err));
}

/* Answers a connection, which can ask once. Returns -1 with errno. */
static int
answer_conn(struct opener *o, uint64_t data)
{
	sa_family_t family = (data & SIX) ? AF_INET6 : AF_INET;
	int fd = o->n < o->max ? bind_udp_relay(o->map, family, &o->next)
			       : fail_errno(ENOBUFS);
	int error = fd == -1 ? errno : 0;

	if (error)
		log_refusal(o, error);
	handover_answer(ANSWER(data), fd, error);
	if (fd != -1) {
		close(fd);
		o->n++;
		data |= GRANTED;
	}
	return opener_watch(o, EPOLL_CTL_MOD, data, 0); /* until it hangs up */
}

/* Reads nothing: that a connection has written is its request. */
static void
handle_conn(struct opener *o, uint64_t data, uint32_t events)
{
	if (!(events & (EPOLLHUP | EPOLLERR)) && answer_conn(o, data) == 0)
		return;
	o->n -= (data & GRANTED) != 0;
	close(ASK(data));
	close(ANSWER(data));
}

/* Receives the ends of new connections. Exits if the mapper has exited. */
static void
receive_conns(const struct opener *o)
{
	struct handover h;

	while (handover_receive(o->mapper, &h) == 0) {
		uint64_t data = (uint64_t)h.ask |
		    (uint64_t)h.answer << FD_BITS | (h.six ? SIX : 0);

		if (opener_watch(o, EPOLL_CTL_ADD, data, EPOLLIN) == 0)
			continue;
		close(h.ask);
		close(h.answer);
	}
	if (errno == 0)
		_exit(0);
}

static _Noreturn void
opener_run(struct opener *o)
{
	struct epoll_event ev[EVENTS];

	for (;;) {
		int n = epoll_wait(o->epoll, ev, EVENTS, -1);

		for (int i = 0; i < n; i++)
			if (ASK(ev[i].data.u64) == o->mapper)
				receive_conns(o);
			else
				handle_conn(o, ev[i].data.u64, ev[i].events);
	}
}

/* Returns -1 with errno. */
static int
opener_init(struct opener *o, const struct map *map, int mapper)
{
	const struct port_range *ports = &map->udp_ports;

	o->map = map;
	o->mapper = mapper;
	o->max = ports->first ? 2u * (unsigned)(ports->last - ports->first + 1)
			      : UDP_RELAYS_MAX;
	o->epoll = epoll_create1(EPOLL_CLOEXEC);
	return o->epoll == -1
	    ? -1
	    : opener_watch(o, EPOLL_CTL_ADD, (uint64_t)mapper, EPOLLIN);
}

/* Gives up all rights. Returns -1 with errno. */
static int
confine_opener(const struct map *map, const struct cred *cred, bool sandbox)
{
	const unsigned first = map->udp_ports.first;

	if (sandbox_drop_privileges(cred,
		first && first < LOW_PORT ? KEEP_LOW_PORTS : KEEP_NONE) == -1)
		return -1;
	if (!sandbox)
		return 0;
	landlock_limit_files(OPENER_ROLE, NULL, 0);
	return sandbox_seccomp(OPENER_ROLE);
}

static _Noreturn void
opener_main(const struct map *map, const struct cred *cred, int channel,
    bool sandbox)
{
	struct opener o = {0};
	bool ready;

	proctitle_set("opener", " ", map->spec);
	fd_close_except(&channel, 1, INT_MAX);
	ready = ns_enter(&map->listen_ns, NULL) != -1 &&
	    opener_init(&o, map, channel) == 0 &&
	    confine_opener(map, cred, sandbox) == 0;
	if (mapper_send_reply(channel, ready ? 0 : errno) == -1 || !ready)
		_exit(1);
	opener_run(&o);
}

/* Waits until the opener is ready. Returns -1 with errno. */
static int
await_opener(int channel)
{
	const struct io io = {channel, -1, now_ms() + OPENER_READY_MS};
	int error = ECONNRESET;

	if (io_wait_for(&io, POLLIN) == -1)
		return -1;
	recv(channel, &error, sizeof(error), 0);
	errno = error;
	return error ? -1 : 0;
}

int
opener_spawn(const struct map *map, const struct cred *cred, bool sandbox,
    pid_t *pid)
{
	int pair[2];

	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK,
		0, pair) == -1)
		return -1;
	map_inherit_secrets(map, false);
	*pid = fork();
	if (*pid == 0) {
		close(pair[1]);
		opener_main(map, cred, pair[0], sandbox);
	}
	close_keep_errno(pair[0]);
	return *pid == -1 || await_opener(pair[1]) == -1
	    ? close_keep_errno(pair[1])
	    : pair[1];
}
