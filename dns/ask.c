/*
 * Asks the name servers one question.
 *
 * Theory of operation: a try is one server, one new socket with a random port
 * of the kernel's, and one new random ID. The socket is connected, so that the
 * kernel passes nothing but that server's datagrams and tells of a port that
 * nothing listens on. A try ends with
 *
 *   an answer        the question is decided: addresses, no name, no address;
 *                    an alias without an address is asked for instead
 *   truncation       the same server is asked over TCP; if that fails, the
 *                    addresses in the truncated answer are taken
 *   SERVFAIL, FORMERR, NOTIMP
 *                    the same server is asked once more, without EDNS
 *   another error    the next server is asked, at once
 *   silence          the next server is asked, when the try's time is over
 *
 * After the last server the next round begins, if a server was silent in this
 * round: an error would only be repeated. Rounds after the first have neither
 * EDNS nor letters of mixed case, because some boxes on the way drop them.
 */

#include <errno.h>
#include <net/if.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <unistd.h>

#include "dns/ask.h"

#include "base/errname.h"

#define ALIASES_MAX  8  /* questions about aliases */
#define FOREIGN_MAX  64 /* datagrams that are no answer; after more, TCP */
#define RECEIVES_MAX 32 /* in a dns_ask_run(), so that it returns in time */
#define TCP_MS       5000

const struct dns_server *
dns_ask_server(const struct dns_ask *a)
{
	const struct dns_ask_params *p = a->params;

	return &p->conf->servers.server[p->order[a->turn]];
}

static void
close_socket(struct dns_ask *a)
{
	if (a->fd != -1)
		close(a->fd);
	a->fd = -1;
}

static void
finish(struct dns_ask *a, enum dns_status status, int error)
{
	close_socket(a);
	a->phase = DNS_ASK_DONE;
	a->list.status = status;
	a->list.error = error;
	a->list.server = *dns_ask_server(a);
	if (status != DNS_OK)
		a->list.count = 0;
}

/* Adds the socket to epfd, or modifies its events. Returns -1 with errno. */
static int
watch(const struct dns_ask *a, int op)
{
	struct epoll_event event = {
	    .events = (uint32_t)dns_ask_events(a),
	    .data.u64 = a->params->tag,
	};

	if (a->params->epfd == -1)
		return 0;
	return epoll_ctl(a->params->epfd, op, a->fd, &event);
}

/*
 * Sets the index of the interface that the zone names. SO_BINDTODEVICE is not
 * used, because a socket takes it once, for dev=. Returns -1 with errno.
 */
static int
find_zone(int fd, struct dns_server *s)
{
	struct ifreq ifr = {0};

	if (!s->zone[0])
		return 0;
	memcpy(ifr.ifr_name, s->zone, sizeof(s->zone));
	if (ioctl(fd, SIOCGIFINDEX, &ifr) == -1)
		return -1;
	s->addr.six.sin6_scope_id = (uint32_t)ifr.ifr_ifindex;
	return 0;
}

/* Opens a socket and connects it to the server. Returns 0 or an errno. */
static int
open_socket(struct dns_ask *a)
{
	struct dns_server s = *dns_ask_server(a);
	bool six = s.addr.any.sa_family == AF_INET6;
	int type = a->tcp ? SOCK_STREAM : SOCK_DGRAM;

	a->fd = socket(s.addr.any.sa_family,
	    type | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (a->fd == -1 || find_zone(a->fd, &s) == -1)
		return errno;
	if (a->params->prepare && !dns_server_is_loopback(&s) &&
	    a->params->prepare(a->fd, s.addr.any.sa_family,
		a->params->prepare_arg) == -1)
		return errno;
	if (connect(a->fd, &s.addr.any,
		six ? sizeof(s.addr.six) : sizeof(s.addr.four)) == -1 &&
	    errno != EINPROGRESS)
		return errno;
	return watch(a, EPOLL_CTL_ADD) == -1 ? errno : 0;
}

static msec
try_time(const struct dns_ask *a)
{
	msec timeout = a->params->conf->timeout;

	if (a->tcp && timeout < TCP_MS)
		return TCP_MS;
	return timeout ? timeout : DNS_ROUND_MS << a->round;
}

/* Gives the question a random ID and random case. Returns 0 or EIO. */
static int
randomize(struct dns_ask *a)
{
	unsigned char random[2 + DNS_WIRE_MAX / 8 + 1];

	if (getrandom(random, sizeof(random), 0) != sizeof(random))
		return EIO;
	memcpy(&a->question.id, random, 2);
	a->question.name = a->name;
	if (a->mixed && !a->tcp)
		dns_name_mix(&a->question.name, random + 2);
	return 0;
}

/* Starts a try. Returns 0, or an errno if the try has failed already. */
static int
transmit(struct dns_ask *a, msec now)
{
	unsigned char msg[DNS_QUERY_SIZE];
	size_t length;
	int error;

	close_socket(a);
	a->phase = a->tcp ? DNS_ASK_SEND : DNS_ASK_UDP;
	a->done = a->want = 0;
	a->foreign = 0;
	a->deadline = now + try_time(a);
	error = randomize(a);
	if (!error)
		error = open_socket(a);
	if (error || a->tcp)
		return error;
	length = dns_message_build(msg, &a->question);
	return send(a->fd, msg, length, MSG_NOSIGNAL) == -1 ? errno : 0;
}

/* Keeps a failure. The silence of a server replaces no earlier error. */
static void
note(struct dns_ask *a, enum dns_status status, int error)
{
	if (a->list.status != DNS_PENDING && status == DNS_NO_ANSWER)
		return;
	a->list.status = status;
	a->list.error = error;
	a->list.server = *dns_ask_server(a);
}

/* Chooses the next server. Returns false after the last one of all rounds. */
static bool
advance(struct dns_ask *a)
{
	const struct dns_conf *conf = a->params->conf;

	if (++a->turn == conf->servers.count) {
		if (!a->silent || ++a->round >= conf->attempts)
			return false;
		a->turn = 0;
		a->silent = false;
	}
	a->tcp = conf->use_tcp;
	a->question.edns = a->mixed = a->round == 0;
	return true;
}

static enum dns_status
status_of(int error)
{
	return errno_is_shortage(error) || error == ENOSPC || error == EIO
	    ? DNS_LOCAL
	    : DNS_NO_ANSWER;
}

/* Ends the question with the failure that note() has kept in a->list. */
static void
give_up(struct dns_ask *a)
{
	close_socket(a);
	a->phase = DNS_ASK_DONE;
}

/* Ends a failed try, and starts the next one with the next server. */
static void
fail(struct dns_ask *a, enum dns_status status, int error, msec now)
{
	if (a->list.count) { /* addresses of a truncated answer */
		finish(a, DNS_OK, 0);
		return;
	}
	do {
		note(a, status, error);
		if (!advance(a)) {
			give_up(a);
			return;
		}
		error = transmit(a, now);
		status = status_of(error);
	} while (error);
}

/* Asks the current server again, because the question or protocol differs. */
static void
again(struct dns_ask *a, msec now)
{
	int error = transmit(a, now);

	if (error)
		fail(a, status_of(error), error, now);
}

void
dns_ask_start(struct dns_ask *a, const struct dns_ask_params *params,
    const struct dns_name *name, uint16_t type, msec now)
{
	memset(a, 0, offsetof(struct dns_ask, buf));
	a->params = params;
	a->name = *name;
	a->question.type = type;
	a->question.edns = a->mixed = true;
	a->tcp = params->conf->use_tcp;
	a->ttl = INT32_MAX;
	a->fd = -1;
	again(a, now);
}

void
dns_ask_stop(struct dns_ask *a, enum dns_status status, int error)
{
	if (a->phase == DNS_ASK_DONE)
		return;
	if (a->list.count) {
		finish(a, DNS_OK, 0);
		return;
	}
	note(a, status, error);
	give_up(a);
}

short
dns_ask_events(const struct dns_ask *a)
{
	return a->phase == DNS_ASK_SEND ? POLLOUT : POLLIN;
}

static void
take_addresses(struct dns_ask *a, const struct dns_answer *answer)
{
	a->list.count = answer->count;
	memcpy(a->list.addr, answer->addr, sizeof(a->list.addr));
	a->list.ttl = a->ttl;
}

/* Asks for the alias in an answer that has no address of the alias. */
static void
follow_alias(struct dns_ask *a, const struct dns_answer *answer, msec now)
{
	if (++a->aliases > ALIASES_MAX) {
		finish(a, DNS_ALIASES, 0);
		return;
	}
	a->name = answer->alias;
	a->tcp = a->params->conf->use_tcp;
	again(a, now);
}

/* Handles an answer without an error. */
static void
ask_settle(struct dns_ask *a, const struct dns_answer *answer, msec now)
{
	if (answer->count) {
		take_addresses(a, answer);
		finish(a, DNS_OK, 0);
	} else if (answer->alias.length) {
		follow_alias(a, answer, now);
	} else if (answer->lame) {
		fail(a, DNS_FAILED, DNS_RCODE_LAME, now);
	} else {
		finish(a, DNS_NO_ADDRESS, 0);
	}
}

static void
take_answer(struct dns_ask *a, const struct dns_answer *answer, msec now)
{
	unsigned rcode = answer->rcode;

	if (answer->ttl < a->ttl)
		a->ttl = answer->ttl;
	if (answer->truncated && !a->tcp) {
		take_addresses(a, answer);
		a->tcp = true;
		again(a, now);
	} else if (rcode == DNS_RCODE_OK) {
		ask_settle(a, answer, now);
	} else if (rcode == DNS_RCODE_NXNAME) {
		finish(a, DNS_NO_NAME, 0);
	} else if (a->question.edns &&
	    (rcode == DNS_RCODE_FORMERR || rcode == DNS_RCODE_NOTIMP ||
		rcode == DNS_RCODE_FAILED || rcode == DNS_RCODE_BADVERS)) {
		a->question.edns = a->mixed = false;
		again(a, now);
	} else {
		fail(a, rcode == DNS_RCODE_REFUSED ? DNS_REFUSED : DNS_FAILED,
		    (int)rcode, now);
	}
}

/* Records that the server answered. Avoids writes, because memory is shared. */
static void
answered(const struct dns_ask *a)
{
	_Atomic msec *silent = a->params->silent;

	if (silent && silent[a->params->order[a->turn]])
		silent[a->params->order[a->turn]] = 0;
}

/*
 * Handles a message. After too many datagrams that are no answer, and may be
 * forged, the server is asked over TCP. A server that changes the case of
 * letters is asked again without mixed case.
 */
static void
take_message(struct dns_ask *a, const unsigned char *msg, size_t size, bool cut,
    msec now)
{
	enum dns_match match = dns_message_match(msg, size, &a->question);
	struct dns_answer answer;
	int error;

	if (match == DNS_MATCH_NONE && a->tcp) {
		fail(a, DNS_FAILED, 0, now);
	} else if (match == DNS_MATCH_NONE) {
		if (++a->foreign > FOREIGN_MAX) {
			a->tcp = true;
			again(a, now);
		}
	} else if (match == DNS_MATCH_CASE && !a->tcp && a->mixed) {
		a->mixed = false;
		again(a, now);
	} else {
		answered(a);
		error =
		    dns_message_parse(msg, size, cut, &a->question, &answer);
		if (error)
			fail(a, error == -1 ? DNS_FAILED : DNS_ALIASES, 0, now);
		else
			take_answer(a, &answer, now);
	}
}

/* Receives a datagram. Returns false if none has arrived. */
static bool
receive_datagram(struct dns_ask *a, msec now)
{
	ssize_t n = recv(a->fd, a->buf, sizeof(a->buf), MSG_TRUNC);
	size_t size = sizeof(a->buf);

	if (n == -1) {
		if (errno != EAGAIN && errno != EINTR)
			fail(a, status_of(errno), errno, now);
		return errno == EINTR;
	}
	if ((size_t)n <= size)
		size = (size_t)n;
	take_message(a, a->buf, size, size < (size_t)n, now);
	return true;
}

/* Sends bytes of the question over TCP. Returns false if it would block. */
static bool
send_stream(struct dns_ask *a, msec now)
{
	unsigned char msg[2 + DNS_QUERY_SIZE];
	size_t length = dns_message_build(msg + 2, &a->question);
	ssize_t n;

	msg[0] = (unsigned char)(length >> 8);
	msg[1] = (unsigned char)length;
	length += 2;
	n = send(a->fd, msg + a->done, length - a->done, MSG_NOSIGNAL);
	if (n == -1) {
		if (errno != EAGAIN && errno != EINTR)
			fail(a, status_of(errno), errno, now);
		return errno == EINTR;
	}
	a->done += (size_t)n;
	if (a->done < length)
		return true;
	a->phase = DNS_ASK_RECEIVE;
	a->done = 0;
	a->want = 2;
	if (watch(a, EPOLL_CTL_MOD) == -1)
		fail(a, DNS_LOCAL, errno, now);
	return true;
}

/* Receives bytes: a length of two bytes, then a message (RFC 1035 4.2.2). */
static bool
receive_stream(struct dns_ask *a, msec now)
{
	size_t most = a->want < sizeof(a->buf) ? a->want : sizeof(a->buf);
	ssize_t n = recv(a->fd, a->buf + a->done, most - a->done, 0);

	if (n == -1) {
		if (errno != EAGAIN && errno != EINTR)
			fail(a, status_of(errno), errno, now);
		return errno == EINTR;
	}
	if (n == 0) {
		fail(a, DNS_FAILED, 0, now);
		return true;
	}
	a->done += (size_t)n;
	if (a->done == 2 && a->want == 2)
		a->want = 2 + ((size_t)a->buf[0] << 8 | a->buf[1]);
	else if (a->done == most)
		take_message(a, a->buf + 2, most - 2, most < a->want, now);
	if (a->phase == DNS_ASK_RECEIVE && a->want == 2 && a->done == 2)
		fail(a, DNS_FAILED, 0, now);
	return true;
}

static void
time_out(struct dns_ask *a, msec now)
{
	_Atomic msec *silent = a->params->silent;

	a->silent = true;
	if (silent)
		silent[a->params->order[a->turn]] =
		    dns_server_mark(dns_ask_server(a), now);
	fail(a, DNS_NO_ANSWER, ETIMEDOUT, now);
}

void
dns_ask_run(struct dns_ask *a, msec now)
{
	bool more = true;

	for (int i = 0; i < RECEIVES_MAX && more; i++) {
		if (a->phase == DNS_ASK_DONE)
			return;
		if (a->phase == DNS_ASK_UDP)
			more = receive_datagram(a, now);
		else if (a->phase == DNS_ASK_SEND)
			more = send_stream(a, now);
		else
			more = receive_stream(a, now);
	}
	if (a->phase != DNS_ASK_DONE && now >= a->deadline)
		time_out(a, now);
}
