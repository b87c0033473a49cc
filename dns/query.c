/*
 * Resolves one name.
 *
 * Theory of operation: hosts is read first; no server is asked for a name in
 * hosts. Then resolv.conf gives the servers and the candidates: the name as it
 * is, and with each domain of the search list appended, in the order that ndots
 * sets. For one candidate at a time both families are asked at once. The
 * answers for a candidate decide:
 *
 *   addresses of a family  are the result, 50 ms later at the latest
 *   no name, no address    of one family or both: the next candidate is asked
 *                          for, unless the other family has addresses
 *   errors of both         are the result, because the name may exist
 *
 * If the answer for one family is "no such name", the query waits some seconds
 * for the other family, because some servers answer so to every AAAA question.
 */

#include <errno.h>
#include <string.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <unistd.h>

#include "dns/query.h"

#include "base/errname.h"

#define DELAY_MS   50    /* RFC 8305 3, Resolution Delay */
#define OBJECT_MS  1000  /* after "no such name", besides a try of the other */
#define SILENT_MS  30000 /* a server that was silent is asked last */
#define LOCALHOST  "localhost"
#define PROBE_PORT 9 /* of a socket that sends nothing */
#define HAS(list)  ((list)->count > 0)
#define ULA(a)     (((a)->s6_addr[0] & 0xfe) == 0xfc) /* RFC 4193 */

static const uint16_t types[] = {DNS_TYPE_A, DNS_TYPE_AAAA};

/*
 * Returns true if an IPv6 address should be tried before an IPv4 one: if there
 * is a route to it from an address of the same scope (RFC 6724 6, rules 1, 2
 * and 5). No datagram is sent.
 */
static bool
prefers_six(const unsigned char *addr)
{
	struct sockaddr_in6 to = {.sin6_family = AF_INET6,
	    .sin6_port = htons(PROBE_PORT)};
	struct sockaddr_in6 from = {.sin6_family = AF_INET6};
	socklen_t size = sizeof(from);
	void *p = &to;
	int fd = socket(AF_INET6, SOCK_DGRAM | SOCK_CLOEXEC, 0), result;

	if (fd == -1)
		return false;
	memcpy(&to.sin6_addr, addr, sizeof(to.sin6_addr));
	result = connect(fd, p, sizeof(to));
	p = &from;
	if (result == 0)
		result = getsockname(fd, p, &size);
	close(fd);
	return result == 0 && ULA(&from.sin6_addr) == ULA(&to.sin6_addr) &&
	    IN6_IS_ADDR_LINKLOCAL(&from.sin6_addr) ==
	    IN6_IS_ADDR_LINKLOCAL(&to.sin6_addr);
}

/* Sets the result of the query from both lists. */
static enum dns_status
query_settle(struct dns_query *q)
{
	struct dns_result *r = &q->result;
	const struct dns_list *four = &r->list[DNS_FOUR],
			      *six = &r->list[DNS_SIX];

	dns_result_settle(r);
	if (r->status == DNS_NO_NAME && q->no_address)
		r->status = DNS_NO_ADDRESS;
	r->six_first = HAS(six) && (!HAS(four) || prefers_six(six->addr[0]));
	return r->status;
}

static enum dns_status
end(struct dns_query *q, enum dns_status status, int error)
{
	q->active = false;
	q->result.status = status;
	q->result.error = error;
	return status;
}

/* Ends the query because a file could not be read. */
static enum dns_status
end_unread(struct dns_query *q)
{
	return end(q, errno_is_shortage(errno) ? DNS_LOCAL : DNS_BAD_FILE,
	    errno);
}

/* Ends the query with addresses that are known without a server. */
static enum dns_status
end_known(struct dns_query *q)
{
	q->active = false;
	for (int i = 0; i < DNS_FAMILIES; i++)
		q->result.list[i].status =
		    HAS(&q->result.list[i]) ? DNS_OK : DNS_NO_ADDRESS;
	return query_settle(q);
}

/* Returns true for localhost and *.localhost (RFC 6761 6.3). */
static bool
is_localhost(const char *name)
{
	size_t length = strlen(name), tail = sizeof(LOCALHOST) - 1;

	return length >= tail &&
	    dns_text_equal(name + length - tail, LOCALHOST) &&
	    (length == tail || name[length - tail - 1] == '.');
}

bool
dns_name_is_local(const struct dns_source *source, const char *name)
{
	struct dns_result r = {0};
	enum dns_file which;

	return is_localhost(name) ||
	    (dns_files_hosts(&source->files, name, &r, &which) == 0 &&
		(HAS(&r.list[DNS_FOUR]) || HAS(&r.list[DNS_SIX])));
}

static void
add_loopback(struct dns_result *r)
{
	static const unsigned char four[4] = {127, 0, 0, 1},
				   six[16] = {[15] = 1};

	dns_list_add(&r->list[DNS_FOUR], four, sizeof(four));
	dns_list_add(&r->list[DNS_SIX], six, sizeof(six));
}

/* Copies the name without the dot that makes it absolute. */
static enum dns_name_error
take_name(struct dns_query *q, const char *name)
{
	enum dns_name_error error = dns_name_check(name);
	size_t length;

	if (error != DNS_NAME_OK)
		return error;
	length = strlen(name);
	q->absolute = name[length - 1] == '.';
	length -= q->absolute;
	memcpy(q->name, name, length);
	q->name[length] = '\0';
	for (size_t i = 0; i < length; i++)
		q->dots += q->name[i] == '.';
	return DNS_NAME_OK;
}

static bool
was_silent(const struct dns_query *q, unsigned server, msec since)
{
	msec mark = q->params.silent ? q->params.silent[server] : 0;
	msec at = DNS_MARK_TIME(mark);

	return mark == dns_server_mark(&q->conf.servers.server[server], at) &&
	    at > since;
}

/* Sets the order of servers: that of the file, but silent servers come last. */
static void
set_order(struct dns_query *q, msec now)
{
	unsigned count = q->conf.servers.count, first = 0, n = 0, at;
	unsigned char random = 0;
	bool bad;

	if (q->conf.rotate && getrandom(&random, 1, 0) == 1)
		first = random % count;
	for (int turn = 0; turn < 2; turn++)
		for (unsigned i = 0; i < count; i++) {
			at = (first + i) % count;
			bad = was_silent(q, at, now - SILENT_MS);
			if (bad == (turn == 1))
				q->params.order[n++] = (uint8_t)at;
		}
}

/*
 * Packs the n-th candidate. Returns 1; 0 if it is too long for a name; -1 if
 * there are fewer candidates.
 */
static int
pack_candidate(const struct dns_query *q, unsigned n, struct dns_name *name)
{
	unsigned domains = q->absolute ? 0 : q->conf.domains;
	unsigned plain = q->dots >= q->conf.ndots ? 0 : domains;
	const char *domain = "";

	if (n > domains)
		return -1;
	if (n != plain)
		domain = dns_conf_domain(&q->conf, n - (n > plain));
	return dns_name_pack(name, q->name, domain);
}

/* Asks for both families of the next candidate. Returns false if none left. */
static bool
ask_next(struct dns_query *q, msec now)
{
	struct dns_name name;
	int packed;

	do
		packed = pack_candidate(q, q->candidate++, &name);
	while (packed == 0);
	if (packed == -1)
		return false;
	q->ready_at = NEVER;
	for (int i = 0; i < DNS_FAMILIES; i++) {
		memset(&q->result.list[i], 0, sizeof(q->result.list[i]));
		q->ask[i].phase = DNS_ASK_DONE;
		q->ask[i].list.status = DNS_NO_ADDRESS;
		q->ask[i].list.count = 0;
		if (i == DNS_FOUR || !q->conf.no_aaaa)
			dns_ask_start(&q->ask[i], &q->params, &name, types[i],
			    now);
	}
	return true;
}

static bool
is_done(const struct dns_ask *a)
{
	return a->phase == DNS_ASK_DONE;
}

/* Sets the IPv6 status from that of IPv4, because of no-aaaa. */
static void
copy_verdict(struct dns_query *q)
{
	struct dns_list *six = &q->result.list[DNS_SIX];
	const struct dns_list *four = &q->result.list[DNS_FOUR];

	six->status = four->status == DNS_OK ? DNS_NO_ADDRESS : four->status;
	six->error = four->error;
	six->server = four->server;
}

/* Copies finished lists into the result. Returns true if both are finished. */
static bool
query_collect(struct dns_query *q)
{
	bool done = true;

	for (int i = 0; i < DNS_FAMILIES; i++)
		if (!is_done(&q->ask[i]))
			done = false;
		else if (i == DNS_SIX && q->conf.no_aaaa)
			copy_verdict(q);
		else if (q->result.list[i].status == DNS_PENDING)
			q->result.list[i] = q->ask[i].list;
	return done;
}

static bool
has_addresses(const struct dns_query *q)
{
	return HAS(&q->result.list[DNS_FOUR]) || HAS(&q->result.list[DNS_SIX]);
}

/* Returns true if a family has no such name, or no address of that name. */
static bool
is_negative(struct dns_query *q)
{
	bool negative = false;

	for (int i = 0; i < DNS_FAMILIES; i++) {
		enum dns_status status = q->result.list[i].status;

		if (status == DNS_NO_ADDRESS)
			q->no_address = true;
		if (status == DNS_NO_ADDRESS || status == DNS_NO_NAME)
			negative = true;
	}
	return negative;
}

/* Sets and checks the limit for the family that is not finished. */
static enum dns_status
wait_for_other(struct dns_query *q, msec now)
{
	struct dns_ask *other = &q->ask[is_done(&q->ask[DNS_FOUR])];
	bool no_name = q->result.list[DNS_FOUR].status == DNS_NO_NAME ||
	    q->result.list[DNS_SIX].status == DNS_NO_NAME;

	if (q->ready_at == NEVER && has_addresses(q))
		q->ready_at = now + DELAY_MS;
	else if (q->ready_at == NEVER && no_name)
		q->ready_at = other->deadline + OBJECT_MS;
	if (now < q->ready_at)
		return DNS_PENDING;
	if (has_addresses(q))
		return query_settle(q);
	dns_ask_stop(other, DNS_NO_ANSWER, ETIMEDOUT);
	return DNS_PENDING;
}

/* Continues with the next candidates while the current one has no addresses. */
static enum dns_status
decide(struct dns_query *q, msec now)
{
	for (;;) {
		bool done = query_collect(q);

		if (!done && is_done(&q->ask[0]) == is_done(&q->ask[1]))
			return DNS_PENDING;
		if (!done && wait_for_other(q, now) != DNS_PENDING)
			return q->result.status;
		if (!done && !query_collect(q))
			return DNS_PENDING;
		if (has_addresses(q) || !is_negative(q) || !ask_next(q, now)) {
			q->active = false;
			return query_settle(q);
		}
	}
}

/* Reads resolv.conf, or uses the servers of dns=, and asks them. */
static enum dns_status
ask_servers(struct dns_query *q, const struct dns_source *source, msec now)
{
	struct dns_conf_reader reader;

	if (dns_files_conf(&source->files, &q->conf, &q->result.file) == -1) {
		if (source->servers.count == 0)
			return end_unread(q);
		dns_conf_begin(&reader, &q->conf);
	}
	if (source->servers.count)
		q->conf.servers = source->servers;
	set_order(q, now);
	q->active = true;
	ask_next(q, now);
	return decide(q, now);
}

static void
stop_asks(struct dns_query *q)
{
	for (int i = 0; q->active && i < DNS_FAMILIES; i++)
		dns_ask_stop(&q->ask[i], DNS_NO_ANSWER, ETIMEDOUT);
}

enum dns_status
dns_query_start(struct dns_query *q, const struct dns_source *source,
    const char *name, msec until, int epfd, uint64_t tag)
{
	msec now = now_ms();
	enum dns_name_error error;

	stop_asks(q);
	memset(q, 0, offsetof(struct dns_query, ask));
	q->until = until;
	q->params.conf = &q->conf;
	q->params.silent = source->silent;
	q->params.prepare = source->prepare;
	q->params.prepare_arg = source->prepare_arg;
	q->params.epfd = epfd;
	q->params.tag = tag;
	error = take_name(q, name);
	if (error == DNS_NAME_NOT_ASCII)
		return end(q, DNS_NOT_ASCII, 0);
	if (error != DNS_NAME_OK)
		return end(q, DNS_BAD_NAME, 0);
	if (dns_files_hosts(&source->files, q->name, &q->result,
		&q->result.file) == -1)
		return end_unread(q);
	if (!has_addresses(q) && is_localhost(q->name))
		add_loopback(&q->result);
	if (has_addresses(q))
		return end_known(q);
	return ask_servers(q, source, now);
}

enum dns_status
dns_query_run(struct dns_query *q)
{
	msec now = now_ms();

	if (!q->active)
		return q->result.status;
	for (int i = 0; i < DNS_FAMILIES; i++) {
		dns_ask_run(&q->ask[i], now);
		if (now >= q->until)
			dns_ask_stop(&q->ask[i], DNS_NO_ANSWER, ETIMEDOUT);
	}
	if (now >= q->until)
		q->candidate = UINT_MAX - 1; /* no candidate is left */
	return decide(q, now);
}

msec
dns_query_deadline(const struct dns_query *q)
{
	msec at = q->until;

	if (!q->active)
		return NEVER;
	for (int i = 0; i < DNS_FAMILIES; i++)
		if (!is_done(&q->ask[i]) && q->ask[i].deadline < at)
			at = q->ask[i].deadline;
	if (q->result.status == DNS_PENDING && q->ready_at < at)
		at = q->ready_at;
	return at;
}

const struct dns_server *
dns_query_server(const struct dns_query *q)
{
	for (int i = 0; q->active && i < DNS_FAMILIES; i++)
		if (!is_done(&q->ask[i]))
			return dns_ask_server(&q->ask[i]);
	return NULL;
}

size_t
dns_query_pollfds(const struct dns_query *q, struct pollfd *fds)
{
	size_t n = 0;

	for (int i = 0; q->active && i < DNS_FAMILIES; i++)
		if (!is_done(&q->ask[i]))
			fds[n++] = (struct pollfd){
			    .fd = q->ask[i].fd,
			    .events = dns_ask_events(&q->ask[i]),
			};
	return n;
}

void
dns_query_stop(struct dns_query *q)
{
	if (!q->active)
		return;
	stop_asks(q);
	query_collect(q);
	q->active = false;
	query_settle(q);
}
