/* What a client says to a proxy: SOCKS4a, SOCKS5, HTTP CONNECT, plain HTTP. */

#include <arpa/inet.h>
#include <ctype.h>
#include <errno.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

#include "associate.h"
#include "hop.h"
#include "io.h"
#include "nsfwd.h"

#define FAREWELL_MS 1000 /* for a client to read why it is refused */
#define LETTERS     "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"

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
ask(struct session *s, const char *text)
{
	snprintf(s->call->tally->asked, HOP_NAME_MAX, "%s", text);
	return hop_asked(&s->asked, text);
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

/* A word, and the NUL behind it, at most HOP_WORD bytes; 0: not all of it. */
static ssize_t
string_length(const unsigned char *data, size_t length)
{
	const unsigned char *end = memchr(data, '\0', length);

	if (end ? end - data > HOP_WORD : length > HOP_WORD)
		return hop_refuse(EPROTO);
	return end ? end - data + 1 : 0;
}

/* A user behind eight bytes, and a host behind that for an address 0.0.0.x. */
static ssize_t
parse_socks4(const unsigned char *data, size_t length)
{
	ssize_t user, host = 0;

	if (length > 1 && data[1] != 1)
		return hop_refuse(EOPNOTSUPP);
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
		return hop_refuse(EPROTO);
	*tongue = HTTP;
	return hop_head(data, length);
}

/* Version 1, a user and a password, each with its length in front. */
static ssize_t
parse_password(const unsigned char *data, size_t length, void *arg)
{
	ssize_t n = (ssize_t)length, user;

	(void)arg;
	if (data[0] != 1)
		return hop_refuse(EPROTO);
	user = n > 1 ? data[1] : n;
	if (n < 3 + user)
		return 0;
	return n < 3 + user + data[2 + user] ? 0 : 3 + user + data[2 + user];
}

static ssize_t
parse_request(const unsigned char *data, size_t length, void *arg)
{
	ssize_t n;

	(void)arg;
	if (data[0] != 5 || (length > 2 && data[2] != 0))
		return hop_refuse(EPROTO);
	if (length > 1 && data[1] != 1 && data[1] != 3)
		return hop_refuse(EOPNOTSUPP);
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
	char text[HOP_WORD + 8], addr[INET_ADDRSTRLEN];
	bool name = !data[4] && !data[5] && !data[6] && data[7];

	if (s->call->map->user) /* for which SOCKS4 has no password */
		return hop_refuse(EPERM);
	host += strlen((const char *)host) + 1;
	inet_ntop(AF_INET, data + 4, addr, sizeof(addr));
	snprintf(text, sizeof(text), "%s:%u", name ? (const char *)host : addr,
	    (unsigned)(data[2] << 8 | data[3]));
	return ask(s, text);
}

static int
hear_password(struct session *s)
{
	const struct map *map = s->call->map;
	const char *data = (const char *)s->data;
	unsigned char reply[] = {1, 0};
	size_t user;
	bool good;

	if (hop_read(&s->line, s->data, HOP_HEAD, parse_password, NULL) == -1)
		return -1;
	user = s->data[1];
	good = same(data + 2, user, map->user);
	good &= same(data + 3 + user, s->data[2 + user],
	    map->password ? map->password : "");
	reply[1] = !good;
	if (say(s, reply, sizeof(reply)) == -1)
		return -1;
	return good ? 0 : hop_refuse(EPERM);
}

static int
hear_socks5(struct session *s)
{
	unsigned char method = s->call->map->user ? 2 : 0;
	unsigned char reply[] = {5, method};
	char text[HOP_NAME_MAX];

	if (!memchr(s->data + 2, method, s->data[1]))
		reply[1] = 255;
	if (say(s, reply, sizeof(reply)) == -1)
		return -1;
	if (reply[1] == 255)
		return hop_refuse(EPERM);
	if (method && hear_password(s) == -1)
		return -1;
	s->tongue = SOCKS5;
	if (hop_read(&s->line, s->data, HOP_HEAD, parse_request, NULL) == -1)
		return -1;
	s->udp = s->data[1] == 3;
	if (s->udp)
		return s->call->udp == -1 ? hop_refuse(EOPNOTSUPP) : 0;
	if (hop_socks_text(text, s->data + 3) == -1)
		return -1;
	return ask(s, text);
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
	char text[HOP_NAME_MAX];
	const char *colon;

	if (strncasecmp(url, "http://", 7) != 0)
		return hop_refuse(EINVAL);
	url += 7;
	length = strcspn(url, "/?#");
	if (length + 4 > sizeof(text))
		return hop_refuse(EINVAL);
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
		return hop_refuse(EMSGSIZE);
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
		return hop_refuse(EINVAL);
	*url++ = *version++ = '\0';
	if (method[strspn(method, LETTERS "-")])
		return hop_refuse(EINVAL);
	for (const char *header = first; *header; header = next_line(header)) {
		n = strcspn(header, ": \t");
		if (n == 0 || header[n] != ':')
			return hop_refuse(EINVAL);
	}
	if (s->call->map->user && !authorized(s->call->map, first))
		return hop_refuse(EPERM);
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

	if (err < 0) /* of getaddrinfo(3) */
		err = EHOSTUNREACH;
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

/* A status line; of an answer that is not the last one, the head to its end. */
static ssize_t
parse_answer(const unsigned char *data, size_t length, void *arg)
{
	const unsigned char *end = memchr(data, '\n', length);
	bool *interim = arg;

	if (memcmp(data, "HTTP/1.", length < 7 ? length : 7) != 0 ||
	    (end && end < data + 12))
		return hop_refuse(EIO);
	*interim = end && data[9] == '1';
	return !end ? 0 : *interim ? hop_head(data, length) : end - data + 1;
}

/* 1: it was the last one, or the server is done; 0: not yet; -1 with errno. */
static int
pass_answer(struct session *s, int server)
{
	const struct line line = {server, s->line.fd,
	    dial_until(s->call->map, now())};
	static const char end[] = "Connection: close\r\n";
	ssize_t n = recv(server, s->data, 1, MSG_PEEK);
	bool interim = false;

	if (n <= 0)
		return n == 0 ? 1 : errno == EAGAIN ? 0 : -1;
	n = hop_read(&line, s->data, HOP_HEAD, parse_answer, &interim);
	if (n == -1)
		return errno == EMSGSIZE ? hop_refuse(EIO) : -1;
	s->data[7] = '1'; /* keep-alive is said in another way in HTTP/1.0 */
	s->call->tally->down += (uint64_t)n;
	if (say(s, s->data, (size_t)n) == -1 ||
	    (!interim && say(s, end, sizeof(end) - 1) == -1))
		return hop_refuse(ECONNABORTED);
	return !interim;
}

/*
 * 1: the client is done; 0: not yet, and *full if the server takes no more. The
 * error of a write is kept for relay(): the end, and what came before, is the
 * server's to tell.
 */
static int
pass_body(struct session *s, int server, bool *full)
{
	struct tally *tally = s->call->tally;
	ssize_t n = recv(s->line.fd, s->head, sizeof(s->head), MSG_PEEK);

	*full = false;
	if (n <= 0)
		return n == 0         ? 1
		    : errno == EAGAIN ? 0
				      : hop_refuse(ECONNABORTED);
	n = send(server, s->head, (size_t)n, MSG_NOSIGNAL);
	*full = n == -1 && errno == EAGAIN;
	if (n == -1 && !*full)
		s->call->refused = errno;
	if (n == -1)
		return 0;
	tally->up += (uint64_t)n;
	return recv(s->line.fd, s->head, (size_t)n, 0) == n ? 0 : -1;
}

/*
 * A server that keeps the connection open, whatever it was told, would get, and
 * could answer, what the client next asks another one for. So the answer says
 * that nothing comes behind it; until it is there, the request goes on. A client
 * that resets hears no answer: relay() delivers what it has sent.
 */
static int
exchange(struct session *s, int server)
{
	const deadline idle = s->call->map->times.idle;
	const int *refused = &s->call->refused;
	struct pollfd client = {.fd = s->line.fd}, watched[2];
	bool full = false;
	int n = 0;

	while (n == 0) {
		client.events = full || *refused ? POLLERR | POLLHUP : POLLIN;
		watched[0] = client;
		watched[1] = (struct pollfd){server,
		    full ? POLLIN | POLLOUT : POLLIN, 0};
		if (io_wait(watched, 2, idle ? now() + idle : NEVER) == -1)
			return -1;
		if (watched[0].revents & (POLLERR | POLLHUP))
			return 0;
		if (watched[1].revents & ~POLLOUT)
			n = pass_answer(s, server);
		if (n == 0 && !*refused &&
		    (watched[0].revents || watched[1].revents & POLLOUT))
			n = pass_body(s, server, &full);
	}
	return n == 1 ? 0 : -1;
}

/* What the server answers counts, also where it does not take the request. */
static int
request(struct session *s, const struct line *server)
{
	struct tally *tally = s->call->tally;
	bool sent = hop_write(server, s->head, strlen(s->head)) == 0;

	if (sent)
		tally->up += strlen(s->head);
	else if (errno != ETIMEDOUT && errno != ECONNABORTED)
		s->call->refused = errno;
	if ((sent || s->call->refused) && exchange(s, server->fd) == 0)
		return 0;
	tally->end = errno == ETIMEDOUT ? END_IDLE : END_TARGET;
	if (errno == ECONNABORTED) {
		io_settle(server->fd);
		errno = ECONNABORTED;
	}
	return -1;
}

/* Dials it, or does not, and says so. */
static int
reach(struct session *s)
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
	if ((s->tongue == HTTP ? request(s, &server) : answer(s, 0)) == 0)
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

	if (heard && s.udp) {
		call->tally->end = (int32_t)associate(call);
		return hop_refuse(call->tally->end == END_CLOSED ? 0 : errno);
	}
	if (call->udp != -1)
		close(call->udp);
	if (heard)
		fd = reach(&s);
	err = errno;
	side_free(&s.asked);
	if (fd != -1)
		return fd;
	if (!call->tally->end)
		call->tally->end = heard ? END_DIAL : END_HANDSHAKE;
	if (err != ECONNABORTED && err != ECONNRESET &&
	    (heard || err != ETIMEDOUT))
		take_leave(&s, err);
	return hop_refuse(err);
}
