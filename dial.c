/* Resolves and connects, in the namespace it is in, until a deadline. */

/*
 * Theory of operation
 *
 * The search for a target is a struct dialing, which knows what comes next and
 * does no waiting, but for the resolver. dial() drives it for a connection that
 * has a process of its own, worker.c for those that share one.
 *
 * What is left of the time is shared evenly among the targets that are left,
 * and the share of a target among its addresses. A target has failed when all
 * of its addresses have; the error of the first one is the one that is told.
 */

#include <errno.h>
#include <netdb.h>
#include <poll.h>
#include <string.h>
#include <sys/time.h>
#include <unistd.h>

#include "dial.h"
#include "hop.h"
#include "io.h"

static const int families[] = {AF_INET, AF_INET6}; /* of a bare port */

deadline
dial_until(const struct map *map, deadline from)
{
	return map->times.connect ? from + map->times.connect : NEVER;
}

/* The time for the next of so many attempts, each with an even share. */
static deadline
share(deadline until, size_t left)
{
	deadline at;

	if (until == NEVER || left == 1)
		return until;
	at = now();
	return at >= until ? until : at + (until - at) / (deadline)left;
}

bool
dial_reset(int client)
{
	struct pollfd watched = {.fd = client};

	if (poll(&watched, 1, 0) != 1 || !(watched.revents & POLLERR))
		return false;
	errno = ECONNABORTED;
	return true;
}

/*
 * getaddrinfo(3) knows no deadline. A timer that nobody handles ends the
 * process in its stead, which resets the client, as a failed dial does; the
 * tally tells the mapper what it was.
 */
static void
set_timer(deadline until)
{
	struct itimerval timer = {0};
	int span = io_timeout(until);

	if (span == -1)
		return;
	span = span ? span : 1;
	timer.it_value.tv_sec = span / 1000;
	timer.it_value.tv_usec = span % 1000 * 1000L;
	setitimer(ITIMER_REAL, &timer, NULL);
}

static size_t
resolve(const struct side *target, unsigned index, int type,
    struct candidate *out, size_t max)
{
	const struct addrinfo hints = {.ai_socktype = type};
	struct addrinfo *list, *ai;
	char port[8];
	size_t n = 0;
	int error;

	snprintf(port, sizeof(port), "%u", target->lo + index);
	error = getaddrinfo(target->text, port, &hints, &list);
	if (error) {
		errno = error == EAI_SYSTEM ? errno : error;
		return 0;
	}
	for (ai = list; ai && n < max && n < DIAL_ADDRESSES_MAX;
	     ai = ai->ai_next) {
		memset(&out[n].addr, 0, sizeof(out[n].addr));
		memcpy(&out[n].addr, ai->ai_addr, ai->ai_addrlen);
		out[n++].length = ai->ai_addrlen;
	}
	freeaddrinfo(list);
	return n;
}

/* How many addresses an endpoint has that is no host name. */
static size_t
count_addresses(const struct side *side)
{
	return side->kind == SIDE_LOOPBACK ? 2 : 1;
}

/* Without an address it is 127.0.0.1, then ::1. 0 with errno, as resolve(). */
static size_t
addresses(const struct side *target, unsigned index, int type,
    struct candidate *out, size_t max)
{
	size_t n = 0, wanted = count_addresses(target);

	if (target->kind == SIDE_HOST)
		return resolve(target, index, type, out, max);
	for (; n < wanted && n < max; n++) {
		out[n].length =
		    dial_address(&out[n].addr, target, index, families[n]);
		if (!out[n].length)
			break;
	}
	return n;
}

size_t
dial_candidates(const struct map *map, struct candidate *out, size_t max)
{
	size_t n = 0, more;

	for (size_t i = 0; i < map->targets; i++) {
		more =
		    addresses(&map->target[i], 0, SOCK_DGRAM, out + n, max - n);
		while (more--)
			out[n++].target = (uint32_t)i;
	}
	return n;
}

static bool
permits_four(const void *addr)
{
	/* Of Alibaba, Oracle and Azure; the rest is link-local. */
	static const unsigned char metadata[][4] = {
	    {100, 100, 100, 200},
	    {192, 0, 0, 192},
	    {168, 63, 129, 16},
	};
	const unsigned char *byte = addr;

	for (size_t i = 0; i < sizeof(metadata) / 4; i++)
		if (memcmp(byte, metadata[i], 4) == 0)
			return false;
	return byte[0] != 0 && byte[0] != 127 && byte[0] < 224 &&
	    (byte[0] != 169 || byte[1] != 254);
}

static bool
permits_six(const struct in6_addr *addr)
{
	/* Of Amazon, Google and Oracle. */
	static const struct in6_addr none,
	    metadata[] = {
		{.s6_addr = {0xfd, 0, 0x0e, 0xc2, [14] = 0x02, 0x54}},
		{.s6_addr = {0xfd, 0x20, 0, 0xce, [14] = 0x02, 0x54}},
		{.s6_addr = {0xfd, 0, 0, 0xc1, [12] = 169, 254, 169, 254}},
	    };
	static const unsigned char nat64[12] = {0, 0x64, 0xff, 0x9b};

	for (size_t i = 0; i < sizeof(metadata) / sizeof(metadata[0]); i++)
		if (IN6_ARE_ADDR_EQUAL(addr, &metadata[i]))
			return false;
	if (memcmp(addr, nat64, sizeof(nat64)) == 0)
		return permits_four(&addr->s6_addr[sizeof(nat64)]);
	return memcmp(addr, &none, 10) != 0 && !IN6_IS_ADDR_LINKLOCAL(addr) &&
	    !IN6_IS_ADDR_MULTICAST(addr);
}

/*
 * What would reach the namespace's own loopback, a neighbour's metadata or
 * many at once is not for strangers. The address counts, not its name.
 */
bool
dial_permits(const struct map *map, const void *addr)
{
	union peer peer;

	memcpy(&peer, addr, sizeof(peer));
	if (side_match(&map->reach, &peer))
		return true;
	return peer.any.sa_family == AF_INET ? permits_four(&peer.four.sin_addr)
					     : peer.any.sa_family == AF_INET6 &&
		permits_six(&peer.six.sin6_addr);
}

static void
note_peer(const struct dialing *d, const struct candidate *to)
{
	if (!d->call->map->hops && to->length && to->addr.ss_family != AF_UNIX)
		memcpy(&d->call->tally->peer, &to->addr, to->length);
}

static const struct side *
target_of(const struct dialing *d)
{
	return d->call->asked ? d->call->asked
			      : &d->call->map->target[d->target];
}

static unsigned
index_of(const struct dialing *d)
{
	const struct side *target = target_of(d);

	return target->lo == target->hi ? 0 : d->call->index;
}

/* What is connected to: the target, or the first hop on the way to it. */
static const struct side *
near_end(const struct dialing *d, unsigned *index)
{
	*index = d->call->map->hops ? 0 : index_of(d);
	return d->call->map->hops ? &d->call->map->hop[0].side : target_of(d);
}

/* How many addresses the target has. 0 with errno. */
static size_t
look_up(const struct dialing *d)
{
	struct tally *tally = d->call->tally;
	unsigned index;
	const struct side *side = near_end(d, &index);
	size_t n;

	if (side->kind != SIDE_HOST)
		return count_addresses(side);
	tally->resolving = 1;
	set_timer(d->target_until);
	n = resolve(side, index, SOCK_STREAM, d->list, DIAL_ADDRESSES_MAX);
	setitimer(ITIMER_REAL, &(struct itimerval){0}, NULL);
	tally->resolving = 0;
	return n;
}

void
dial_start(struct dialing *d, const struct call *call, struct candidate *list)
{
	*d = (struct dialing){
	    .call = call,
	    .backoff = balance_backoff(call),
	    .until = call->until ? call->until : dial_until(call->map, now()),
	    .list = list,
	};
}

void
dial_failed(struct dialing *d)
{
	d->error = errno;
	d->at = d->addresses;
	balance_failed(d->call, d->target);
}

/* False if there is none left. One that has no address has failed. */
static bool
next_target(struct dialing *d)
{
	const struct call *call = d->call;
	size_t left = call->asked ? 1 : call->map->targets;

	for (uint64_t bits = d->tried; bits; bits &= bits - 1)
		left--;
	if (!left)
		return false;
	d->target = (uint32_t)balance_next(call, d->tried, d->backoff);
	d->tried |= (uint64_t)1 << d->target;
	d->target_until = share(d->until, left);
	call->tally->target = d->target;
	call->tally->peer.any.sa_family = AF_UNSPEC;
	call->tally->code = 0;
	d->at = 0;
	d->addresses = (uint32_t)look_up(d);
	if (!d->addresses)
		dial_failed(d);
	return true;
}

int
dial_same(const struct dialing *d, struct candidate *to)
{
	unsigned index;
	const struct side *side = near_end(d, &index);

	if (side->kind == SIDE_HOST)
		*to = d->list[d->at - 1];
	else
		to->length =
		    dial_address(&to->addr, side, index, families[d->at - 1]);
	if (!to->length)
		return -1;
	errno = EACCES;
	return d->call->asked && !d->call->map->hops &&
		!dial_permits(d->call->map, &to->addr)
	    ? -1
	    : 0;
}

int
dial_next(struct dialing *d, struct candidate *to)
{
	for (;;) {
		while (d->at == d->addresses)
			if (!next_target(d)) {
				errno = d->error;
				return -1;
			}
		d->address_until = share(d->target_until, d->addresses - d->at);
		d->at++;
		if (dial_same(d, to) == 0)
			return 0;
		dial_missed(d, to);
	}
}

void
dial_missed(struct dialing *d, const struct candidate *to)
{
	if (d->at == 1) {
		d->error = errno;
		note_peer(d, to);
	}
	if (d->at == d->addresses)
		balance_failed(d->call, d->target);
}

void
dial_reached(const struct dialing *d, const struct candidate *to)
{
	note_peer(d, to);
}

/* The blocking driver. */

/*
 * Waits until the connect is decided. The client is watched for a reset only:
 * its end of stream may lie behind a request that wants an answer. Over
 * loopback it has been decided by the time that it is asked for again, which
 * spares a wait.
 */
static enum attempt
await(const struct line *line, const struct candidate *to)
{
	enum attempt result = attempt_connect(line->fd, to);

	if (result != ATTEMPT_WAIT)
		return result;
	return hop_wait(line, POLLOUT) == -1 ? ATTEMPT_FAILED
					     : attempt_result(line->fd, to);
}

static int
connect_until(const struct line *line, const struct candidate *to)
{
	enum attempt result;

	while ((result = attempt_connect(line->fd, to)) == ATTEMPT_RETRY) {
		if (dial_reset(line->client))
			return -1;
		errno = ETIMEDOUT;
		if (io_timeout(line->until) == 0)
			return -1;
		poll(NULL, 0, DIAL_RETRY_MS);
	}
	if (result == ATTEMPT_WAIT)
		result = await(line, to);
	return result == ATTEMPT_DONE ? 0 : -1;
}

/* What is given up is reset: the target must not see an empty, clean end. */
static int
try_address(const struct dialing *d, const struct candidate *to)
{
	struct line line = {.client = d->call->client,
	    .until = d->address_until};

	if (dial_reset(line.client))
		return -1;
	line.fd = attempt_open(d->call->map, to->addr.ss_family);
	if (line.fd == -1 || connect_until(&line, to) == 0)
		return line.fd;
	return dial_give_up(line.fd);
}

/* Through the other hops, then who the client is. */
static int
introduce(const struct dialing *d, int fd)
{
	const struct call *call = d->call;
	const struct map *map = call->map;
	const struct line line = {fd, call->client, d->target_until};
	const char *ns = map->from.kind == NS_SELF ? NULL : ns_word(&map->from);
	unsigned char header[HEADER_SIZE];
	size_t length;

	for (size_t i = 0; i < map->hops; i++) {
		bool last = i + 1 == map->hops;
		const struct side *to =
		    last ? target_of(d) : &map->hop[i + 1].side;

		if (hop_through(&line, &map->hop[i], to, last ? index_of(d) : 0,
			&call->tally->code) == -1)
			return -1;
	}
	if (!map->header)
		return 0;
	length = header_make(header, map->header, &call->from, &call->to, ns);
	return hop_write(&line, header, length);
}

int
dial(const struct call *call)
{
	struct candidate list[DIAL_ADDRESSES_MAX], to;
	struct dialing d;
	int fd;

	dial_start(&d, call, list);
	while (dial_next(&d, &to) == 0) {
		fd = try_address(&d, &to);
		if (fd == -1) {
			if (errno == ECONNABORTED)
				return -1;
			dial_missed(&d, &to);
			continue;
		}
		dial_reached(&d, &to);
		if (introduce(&d, fd) == 0)
			return fd;
		dial_give_up(fd);
		if (errno == ECONNABORTED)
			return -1;
		dial_failed(&d);
	}
	return -1;
}
