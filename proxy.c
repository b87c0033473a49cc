/* What a client says to a proxy: SOCKS4a, SOCKS5, HTTP CONNECT, plain HTTP. */

#include <arpa/inet.h>
#include <ctype.h>
#include <errno.h>
#include <netdb.h>
#include <poll.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

#include "nsfwd.h"

#define WORD_MAX     255
#define FAREWELL_MS  1000 /* for a client to read why it is refused */
#define DATAGRAM_MAX 65535
#define UDP_FIXED    3 /* in front of the address of a UDP datagram */
#define UDP_HEAD     (UDP_FIXED + 1 + 16 + 2)
#define UDP_NAME     (1 + 1 + WORD_MAX + 2)
#define CANDIDATES   8
#define STALE_MAX    4096
#define FRESH_MS     60000 /* how long the address of a name is good */
#define LETTERS      "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"

static const char CONNECTED[] = "HTTP/1.1 200 Connection established\r\n\r\n";

/* How a client wants its answer. */
enum tongue {
	MUTE, /* it has not said anything that could be answered */
	SOCKS4,
	SOCKS5,
	HTTP, /* plain: the target answers it */
	CONNECT
};

struct session {
	struct call *call;
	struct line line; /* to the client */
	enum tongue tongue;
	bool udp;
	struct side asked;
	unsigned char data[HOP_HEAD + 1]; /* what it said */
	char head[HOP_HEAD + 64];         /* and what the target is told */
};

static int
refuse(int err)
{
	errno = err;
	return -1;
}

/*
 * Takes "HOST:PORT" as a map's target would have it, but no other kind: not a
 * file, not a number that only a resolver knows for an address.
 */
static int
ask(struct session *s, const char *text)
{
	struct tally *tally = s->call->tally;
	char word[DIAL_NAME];
	const char *part;

	if (strlen(text) >= sizeof(word) ||
	    text[strspn(text, LETTERS "0123456789-._:[]")])
		return refuse(EINVAL);
	memcpy(word, text, strlen(text) + 1);
	memcpy(tally->asked, text, strlen(text) + 1);
	side_free(&s->asked);
	if (side_parse(&s->asked, word, 1, &part) ||
	    (s->asked.kind != SIDE_INET && s->asked.kind != SIDE_INET6 &&
		s->asked.kind != SIDE_HOST))
		return refuse(EINVAL);
	return 0;
}

/* The same from a kind of address, an address and a port of SOCKS5. */
static int
ask_socks(struct session *s, const unsigned char *at)
{
	char host[WORD_MAX + 1], text[WORD_MAX + 16];
	size_t length = at[0] == HOP_NAME ? 1 + (size_t)at[1]
	    : at[0] == HOP_INET           ? 4
					  : 16;
	const unsigned char *port = at + 1 + length;

	if (at[0] == HOP_NAME) {
		memcpy(host, at + 2, length - 1);
		host[length - 1] = '\0';
		if (strlen(host) != length - 1)
			return refuse(EINVAL);
	} else {
		inet_ntop(length == 4 ? AF_INET : AF_INET6, at + 1, host,
		    sizeof(host));
	}
	snprintf(text, sizeof(text), strchr(host, ':') ? "[%s]:%u" : "%s:%u",
	    host, port[0] << 8 | port[1]);
	return ask(s, text);
}

/* Takes as long for a wrong word as for a right one of its length. */
static bool
same(const char *given, size_t length, const char *wanted)
{
	size_t size = strlen(wanted);
	unsigned differ = length != size;

	for (size_t i = 0; i < length; i++)
		differ |= (unsigned char)given[i] ^
		    (unsigned char)wanted[i < size ? i : size];
	return !differ;
}

/* A word, and the NUL behind it, at most WORD_MAX bytes; 0: not all of it. */
static ssize_t
string_length(const unsigned char *data, size_t length)
{
	const unsigned char *end = memchr(data, '\0', length);

	if (end ? end - data > WORD_MAX : length > WORD_MAX)
		return refuse(EPROTO);
	return end ? end - data + 1 : 0;
}

/* A user behind eight bytes, and a host behind that for an address 0.0.0.x. */
static ssize_t
parse_socks4(const unsigned char *data, size_t length)
{
	ssize_t user, host = 0;

	if (length > 1 && data[1] != 1)
		return refuse(EOPNOTSUPP);
	if (length <= 8)
		return 0;
	user = string_length(data + 8, length - 8);
	if (user > 0 && !data[4] && !data[5] && !data[6] && data[7]) {
		host = 8 + user == (ssize_t)length
		    ? 0
		    : string_length(data + 8 + user, length - 8 - user);
		if (host <= 0)
			return host;
	}
	return user <= 0 ? user : 8 + user + host;
}

/* The first thing a client says: of HTTP, and of SOCKS4, it is all. */
static ssize_t
parse_first(const unsigned char *data, size_t length, void *arg)
{
	enum tongue *tongue = arg;

	if (data[0] == 4) {
		*tongue = SOCKS4;
		return parse_socks4(data, length);
	}
	if (data[0] == 5)
		return length < 2 || length < 2 + (size_t)data[1] ? 0
								  : 2 + data[1];
	if (!isupper(data[0]))
		return refuse(EPROTO);
	*tongue = HTTP;
	return hop_head(data, length);
}

/* Version 1, a user and a password, each with its length in front. */
static ssize_t
parse_password(const unsigned char *data, size_t length, void *arg)
{
	size_t user;

	(void)arg;
	if (data[0] != 1)
		return refuse(EPROTO);
	if (length < 2 || length < 3 + (user = data[1]))
		return 0;
	return length < 3 + user + data[2 + user] ? 0
						  : 3 + user + data[2 + user];
}

static ssize_t
parse_request(const unsigned char *data, size_t length, void *arg)
{
	ssize_t n;

	(void)arg;
	if (data[0] != 5 || (length > 2 && data[2] != 0))
		return refuse(EPROTO);
	if (length > 1 && data[1] != 1 && data[1] != 3)
		return refuse(EOPNOTSUPP);
	if (length < 4)
		return 0;
	n = hop_socks_length(data + 3, length - 3);
	return n <= 0 ? n : 3 + (size_t)n > length ? 0 : 3 + n;
}

static int
say(struct session *s, const void *data, size_t length)
{
	return hop_write(&s->line, data, length);
}

static int
hear_socks4(struct session *s)
{
	const unsigned char *data = s->data, *host = data + 8;
	char text[WORD_MAX + 8], addr[INET_ADDRSTRLEN];
	bool name = !data[4] && !data[5] && !data[6] && data[7];

	if (s->call->map->user) /* for which SOCKS4 has no password */
		return refuse(EPERM);
	host += strlen((const char *)host) + 1;
	inet_ntop(AF_INET, data + 4, addr, sizeof(addr));
	snprintf(text, sizeof(text), "%s:%u", name ? (const char *)host : addr,
	    data[2] << 8 | data[3]);
	return ask(s, text);
}

static int
hear_password(struct session *s)
{
	const struct map *map = s->call->map;
	const char *data = (const char *)s->data;
	unsigned char answer[] = {1, 0};
	size_t user;
	bool good;

	if (hop_read(&s->line, s->data, HOP_HEAD, parse_password, NULL) == -1)
		return -1;
	user = s->data[1];
	good = same(data + 2, user, map->user);
	good &= same(data + 3 + user, s->data[2 + user],
	    map->password ? map->password : "");
	answer[1] = !good;
	if (say(s, answer, sizeof(answer)) == -1)
		return -1;
	return good ? 0 : refuse(EPERM);
}

static int
hear_socks5(struct session *s)
{
	unsigned char method = s->call->map->user ? 2 : 0;
	unsigned char answer[] = {5, method};

	if (!memchr(s->data + 2, method, s->data[1]))
		answer[1] = 255;
	if (say(s, answer, sizeof(answer)) == -1)
		return -1;
	if (answer[1] == 255)
		return refuse(EPERM);
	if (method && hear_password(s) == -1)
		return -1;
	s->tongue = SOCKS5;
	if (hop_read(&s->line, s->data, HOP_HEAD, parse_request, NULL) == -1)
		return -1;
	s->udp = s->data[1] == 3;
	if (s->udp)
		return s->call->udp == -1 ? refuse(EOPNOTSUPP) : 0;
	return ask_socks(s, s->data + 3);
}

/* The value of the header that a line is, if it has that name. */
static const char *
value_of(const char *line, const char *name)
{
	size_t length = strlen(name);

	if (strncasecmp(line, name, length) != 0 || line[length] != ':')
		return NULL;
	return line + length + 1 + strspn(line + length + 1, " \t");
}

/* The lines of a head have a NUL and a '\n' behind them; the last is empty. */
static const char *
next_line(const char *line)
{
	return line + strlen(line) + 2;
}

/* Basic, the scheme's only word compared as a whole. */
static bool
authorized(const struct map *map, const char *first)
{
	char wanted[HOP_BASIC];
	const char *value;

	hop_basic(wanted, map->user, map->password);
	for (const char *line = first; *line; line = next_line(line)) {
		value = value_of(line, "Proxy-Authorization");
		if (value && strncasecmp(value, "Basic ", 6) == 0)
			return same(value + 6, strlen(value + 6), wanted);
	}
	return false;
}

/* A header of this connection, by its name or because Connection names it. */
static bool
stays_here(const char *header, const char *first)
{
	static const char *const names[] = {"Connection", "Host", "Keep-Alive",
	    "Proxy-Authenticate", "Proxy-Authorization", "Proxy-Connection",
	    "TE", "Trailer", "Upgrade"};
	size_t length = strcspn(header, ":");

	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
		if (value_of(header, names[i]))
			return true;
	if (value_of(header, "Transfer-Encoding") ||
	    value_of(header, "Content-Length"))
		return false;
	for (const char *line = first; *line; line = next_line(line)) {
		const char *word = value_of(line, "Connection");

		for (; word && *word; word += strcspn(word, ", \t")) {
			word += strspn(word, ", \t");
			if (strcspn(word, ", \t") == length &&
			    strncasecmp(word, header, length) == 0)
				return true;
		}
	}
	return false;
}

/*
 * "http://HOST[:PORT][/...]" becomes what a server is asked for; the host is
 * said anew, as the one that is dialled.
 */
static int
rewrite(struct session *s, const char *method, const char *url,
    const char *version, const char *first)
{
	size_t length, used, room = sizeof(s->head);
	char text[DIAL_NAME];
	const char *colon;

	if (strncasecmp(url, "http://", 7) != 0)
		return refuse(EINVAL);
	url += 7;
	length = strcspn(url, "/?#");
	if (length + 4 > sizeof(text))
		return refuse(EINVAL);
	memcpy(text, url, length);
	text[length] = '\0';
	used = (size_t)snprintf(s->head, room,
	    "%s %s%s %s\r\nHost: %s\r\nConnection: close\r\n", method,
	    url[length] == '/' ? "" : "/", url + length, version, text);
	colon = strrchr(text, ':');
	if (!colon || strchr(colon, ']'))
		memcpy(text + length, ":80", 4);
	for (const char *line = first; *line; line = next_line(line))
		if (!stays_here(line, first) && used < room)
			used += (size_t)snprintf(s->head + used, room - used,
			    "%s\r\n", line);
	if (used + 2 >= room)
		return refuse(EMSGSIZE);
	memcpy(s->head + used, "\r\n", 3);
	return ask(s, text);
}

static int
hear_http(struct session *s, size_t length)
{
	char *line = (char *)s->data, *method = line, *url, *version;
	const char *first;
	size_t n;

	s->data[length] = '\0';
	for (char *end = line; (end = strstr(end, "\r\n"));)
		*end = '\0', end += 2;
	first = line + strlen(line) + 2;
	url = strchr(line, ' ');
	version = url ? strchr(url + 1, ' ') : NULL;
	if (!version ||
	    (strcmp(version, " HTTP/1.1") != 0 &&
		strcmp(version, " HTTP/1.0") != 0))
		return refuse(EINVAL);
	*url++ = *version++ = '\0';
	if (method[strspn(method, LETTERS "-")])
		return refuse(EINVAL);
	for (const char *header = first; *header; header = next_line(header)) {
		n = strcspn(header, ": \t");
		if (n == 0 || header[n] != ':')
			return refuse(EINVAL);
	}
	if (s->call->map->user && !authorized(s->call->map, first))
		return refuse(EPERM);
	if (strcmp(method, "CONNECT") != 0)
		return rewrite(s, method, url, version, first);
	s->tongue = CONNECT;
	return ask(s, url);
}

/* What the client asks for, in s->asked; or s->udp. */
static int
hear(struct session *s)
{
	ssize_t length =
	    hop_read(&s->line, s->data, HOP_HEAD, parse_first, &s->tongue);

	if (length == -1)
		return -1;
	if (s->tongue == SOCKS4)
		return hear_socks4(s);
	if (s->data[0] == 5)
		return hear_socks5(s);
	return hear_http(s, (size_t)length);
}

/* A number of SOCKS5 and a status of HTTP for it; SOCKS4 knows one only. */
static const struct answer {
	int err, socks;
	const char *http;
} answers[] = {
    {EPERM, 2, "407 Proxy Authentication Required"},
    {EACCES, 2, "403 Forbidden"},
    {EINVAL, 1, "400 Bad Request"},
    {EPROTO, 1, "400 Bad Request"},
    {EMSGSIZE, 1, "431 Request Header Fields Too Large"},
    {ENETUNREACH, 3, "502 Bad Gateway"},
    {EHOSTUNREACH, 4, "502 Bad Gateway"},
    {EAI_NONAME, 4, "502 Bad Gateway"},
    {ECONNREFUSED, 5, "502 Bad Gateway"},
    {ETIMEDOUT, 4, "504 Gateway Timeout"},
    {EOPNOTSUPP, 7, "501 Not Implemented"},
    {EAFNOSUPPORT, 8, "502 Bad Gateway"},
    {0, 1, "502 Bad Gateway"},
};

static int
answer_http(struct session *s, const char *status, int err)
{
	char text[256];

	snprintf(text, sizeof(text),
	    "HTTP/1.1 %s\r\nConnection: close\r\nContent-Length: 0\r\n%s\r\n",
	    status,
	    err == EPERM ? "Proxy-Authenticate: Basic realm=\"nsfwd\"\r\n"
			 : "");
	return say(s, text, strlen(text));
}

/* err 0: it is connected. */
static int
answer(struct session *s, int err)
{
	unsigned char four[8] = {0, err ? 91 : 90}, five[10] = {5, 0, 0, 1};
	const struct answer *a = answers;

	while (a->err && a->err != err)
		a++;
	switch (s->tongue) {
	case SOCKS4:
		return say(s, four, sizeof(four));
	case SOCKS5:
		five[1] = (unsigned char)(err ? a->socks : 0);
		return say(s, five, sizeof(five));
	case HTTP:
		return err ? answer_http(s, a->http, err) : 0;
	case CONNECT:
		if (err)
			return answer_http(s, a->http, err);
		return say(s, CONNECTED, sizeof(CONNECTED) - 1);
	case MUTE:
		break;
	}
	return 0;
}

/* A reset would overtake the answer, and unread bytes make a close a reset. */
static void
take_leave(struct session *s, int err)
{
	const struct linger off = {0};

	s->line.until = now() + FAREWELL_MS;
	if (s->tongue == MUTE ? err != EPERM : answer(s, err) == -1)
		return;
	setsockopt(s->line.fd, SOL_SOCKET, SO_LINGER, &off, sizeof(off));
	shutdown(s->line.fd, SHUT_WR);
	while (hop_wait(&s->line, POLLIN) == 0 &&
	    recv(s->line.fd, s->data, sizeof(s->data), 0) > 0)
		;
}

/* An association of SOCKS5: datagrams of one client, to and from anywhere. */
struct association {
	struct session *s;
	int client, target[2]; /* IPv4, IPv6; -1 until there is need */
	struct flow_key key;   /* the client, once it has sent something */
	unsigned char name[UDP_NAME]; /* as the last datagram had it */
	size_t length;                /* of that */
	struct candidate to;          /* what it is, */
	deadline fresh;               /* until then */
	unsigned char data[UDP_HEAD + DATAGRAM_MAX];
};

static unsigned char *
put_peer(unsigned char *at, const union peer *peer, uint16_t port)
{
	bool six = peer->any.sa_family == AF_INET6;

	*at++ = six ? HOP_INET6 : HOP_INET;
	if (six)
		memcpy(at, &peer->six.sin6_addr, 16);
	else
		memcpy(at, &peer->four.sin_addr, 4);
	at += six ? 16 : 4;
	memcpy(at, &port, 2);
	return at + 2;
}

/* A name is asked for again after a minute, or when another was in between. */
static int
resolve(struct association *a, const unsigned char *name, size_t length)
{
	struct map map = *a->s->call->map;
	struct candidate list[CANDIDATES];
	size_t n;

	if (length == a->length && memcmp(name, a->name, length) == 0 &&
	    now() < a->fresh)
		return 0;
	a->length = 0;
	if (ask_socks(a->s, name) == -1)
		return -1;
	map.target = &a->s->asked;
	map.targets = 1;
	n = dial_candidates(&map, list, CANDIDATES);
	for (size_t i = 0; i < n && !a->length; i++)
		if (dial_permits(&map, &list[i].addr)) {
			a->to = list[i];
			a->length = length;
		}
	memcpy(a->name, name, length);
	a->fresh = now() + FRESH_MS;
	return a->length ? 0 : -1;
}

static int
target_of(struct association *a, int family)
{
	int *fd = &a->target[family == AF_INET6];

	if (*fd != -1)
		return *fd;
	*fd = socket(family, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (*fd == -1)
		return -1;
	datagram_prepare(*fd, family, false, false);
	if (dial_prepare(*fd, a->s->call->map, family) == 0)
		return *fd;
	close(*fd);
	return *fd = -1;
}

/* Only the client's address counts, and of it the first port that is used. */
static bool
is_client(struct association *a, const union peer *peer)
{
	const union peer *client = &a->s->call->from;
	bool same_address = peer->any.sa_family == AF_INET
	    ? peer->four.sin_addr.s_addr == client->four.sin_addr.s_addr
	    : IN6_ARE_ADDR_EQUAL(&peer->six.sin6_addr, &client->six.sin6_addr);

	if (!same_address || !peer->four.sin_port)
		return false;
	if (!a->key.peer.any.sa_family)
		a->key.peer = *peer;
	return peer->four.sin_port == a->key.peer.four.sin_port;
}

/* A fragment, or what is not allowed, is dropped, as on any way. */
static void
send_up(struct association *a)
{
	unsigned char *data = a->data, *payload;
	union peer peer = {0};
	socklen_t size = sizeof(peer);
	const void *to = &a->to.addr;
	ssize_t n, used;

	n = recvfrom(a->client, data, sizeof(a->data), 0, &peer.any, &size);
	if (n <= UDP_FIXED || data[0] || data[1] || data[2] ||
	    !is_client(a, &peer))
		return;
	used = hop_socks_length(data + UDP_FIXED, (size_t)n - UDP_FIXED);
	if (used <= 0 || UDP_FIXED + used > n ||
	    resolve(a, data + UDP_FIXED, (size_t)used) == -1)
		return;
	payload = data + UDP_FIXED + used;
	n = sendto(target_of(a, a->to.addr.ss_family), payload,
	    (size_t)(data + n - payload), MSG_NOSIGNAL, to, a->to.length);
	if (n > 0)
		a->s->call->tally->up += (uint64_t)n;
}

static void
send_down(struct association *a, int from)
{
	unsigned char *payload = a->data + UDP_HEAD, *head;
	struct datagram one = {0};
	struct outcome outcome = {0};
	union peer peer = {0};
	socklen_t size = sizeof(peer);
	size_t limit = 0;
	ssize_t n;

	n = recvfrom(from, payload, DATAGRAM_MAX, 0, &peer.any, &size);
	if (n == -1 || !a->key.peer.any.sa_family ||
	    !dial_permits(a->s->call->map, &peer))
		return;
	head = peer.any.sa_family == AF_INET6 ? payload - UDP_HEAD
					      : payload - UDP_HEAD + 12;
	memset(head, 0, UDP_FIXED);
	put_peer(head + UDP_FIXED, &peer, peer.four.sin_port);
	one.data = head;
	one.length = (size_t)(payload - head + n);
	datagram_send(a->client, &a->key, &limit, &one, &outcome);
	if (!outcome.lost)
		a->s->call->tally->down += (uint64_t)n;
}

/* Until the client ends its connection, or is silent for too long. */
static enum end
exchange(struct association *a)
{
	const deadline idle = a->s->call->map->times.idle;
	struct pollfd watched[4] = {
	    {.fd = a->s->call->client, .events = POLLIN},
	    {.fd = a->client, .events = POLLIN},
	};
	char ignored[256];
	int n;

	for (;;) {
		for (int i = 0; i < 2; i++)
			watched[2 + i] =
			    (struct pollfd){a->target[i], POLLIN, 0};
		n = poll(watched, 4, hop_span(idle ? now() + idle : NEVER));
		if (n == 0)
			return END_IDLE;
		if (n == -1 && errno != EINTR)
			return END_LOCAL;
		if (watched[0].revents &&
		    recv(watched[0].fd, ignored, sizeof(ignored), 0) <= 0)
			return END_CLOSED;
		if (watched[1].revents)
			send_up(a);
		for (int i = 2; i < 4; i++)
			if (watched[i].revents)
				send_down(a, watched[i].fd);
	}
}

/* What came before this client had the socket was not for it. */
static int
associate(struct session *s)
{
	const struct call *call = s->call;
	struct association a = {.s = s,
	    .client = call->udp,
	    .target = {-1, -1}};
	unsigned char reply[UDP_HEAD] = {5}, *end;
	union peer own = {0};
	socklen_t size = sizeof(own);
	int on = 1;

	setsockopt(call->udp, SOL_SOCKET, SO_DETACH_FILTER, &on, sizeof(on));
	for (int i = 0; i < STALE_MAX; i++)
		if (recv(call->udp, &on, sizeof(on), MSG_DONTWAIT) == -1)
			break;
	if (call->from.any.sa_family == AF_INET6)
		a.key.local = call->to.six.sin6_addr;
	else
		memcpy(&a.key.local, &call->to.four.sin_addr, 4);
	if (getsockname(call->udp, &own.any, &size) == -1)
		return -1;
	end = put_peer(reply + 3, &call->to, own.four.sin_port);
	if (say(s, reply, (size_t)(end - reply)) == -1)
		return -1;
	call->tally->end = (int32_t)exchange(&a);
	return refuse(call->tally->end == END_CLOSED ? 0 : ETIMEDOUT);
}

/* Dials it, or does not, and says so. */
static int
serve(struct session *s)
{
	struct call *call = s->call;
	struct line server = {-1, call->client, call->until};
	struct sockaddr_storage addr;

	errno = EACCES;
	call->asked = &s->asked;
	if (!dial_address(&addr, &s->asked, 0, AF_UNSPEC) ||
	    dial_permits(call->map, &addr))
		server.fd = dial(call);
	call->asked = NULL;
	if (server.fd == -1)
		return -1;
	if ((s->tongue == HTTP ? hop_write(&server, s->head, strlen(s->head))
			       : answer(s, 0)) == 0)
		return server.fd;
	close(server.fd);
	return -1;
}

int
proxy(struct call *call)
{
	struct session s = {
	    .call = call,
	    .line = {call->client, -1, call->until},
	};
	bool heard = hear(&s) == 0;
	int fd = -1, err;

	if (heard && s.udp)
		return associate(&s);
	close(call->udp);
	if (heard)
		fd = serve(&s);
	err = errno;
	side_free(&s.asked);
	if (fd != -1)
		return fd;
	call->tally->end = heard ? END_DIAL : END_HANDSHAKE;
	if (err != ECONNABORTED && err != ECONNRESET &&
	    (heard || err != ETIMEDOUT))
		take_leave(&s, err);
	return refuse(err);
}
