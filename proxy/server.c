/* What a client says to a proxy: SOCKS4a, SOCKS5, HTTP CONNECT, plain HTTP. */

#include <arpa/inet.h>
#include <ctype.h>
#include <errno.h>
#include <poll.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <sys/types.h>
#include <unistd.h>

#include "base/array.h"
#include "base/clock.h"
#include "base/io.h"
#include "base/report.h"
#include "config/endpoint.h"
#include "config/map.h"
#include "dial/dial.h"
#include "proxy/conn.h"
#include "proxy/http.h"
#include "proxy/reach.h"
#include "proxy/server.h"
#include "proxy/socks.h"
#include "udp/associate.h"

#define ERROR_LINGER_MS 1000 /* for a client to read why it is refused */
#define LETTERS         "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"

static const char CONNECTED[] = "HTTP/1.1 200 Connection established\r\n\r\n";

/* How a client wants its answer. */
enum client_protocol {
	PROTO_UNKNOWN, /* it has not said anything that could be answered */
	SOCKS4,
	SOCKS5,
	HTTP, /* plain: the target answers it */
	CONNECT
};

struct session {
	struct conn *conn;
	struct io io; /* to the client */
	enum client_protocol tongue;
	bool udp;
	struct endpoint asked;
	unsigned char in_buf[HTTP_HEAD_MAX + 1]; /* what it said */
	char request[HTTP_HEAD_MAX + 64]; /* and what the target is told */
};

static int
set_requested(struct session *s, const char *text)
{
	snprintf(s->conn->report->requested, HOSTPORT_MAX, "%s", text);
	return endpoint_parse_untrusted(&s->asked, text);
}

/* Takes as long for a wrong word as for a right one of its length. */
static bool
equal_constant_time(const char *given, size_t length, const char *wanted)
{
	size_t size = strlen(wanted);
	unsigned differ = length != size;

	for (size_t i = 0; i < length; i++)
		differ |= (unsigned char)given[i] ^
		    (unsigned char)wanted[i < size ? i : size];
	return !differ;
}

/* A word, and the NUL behind it, at most SOCKS_STRING_MAX bytes; 0: not all of it. */
static ssize_t
nul_string_length(const unsigned char *data, size_t length)
{
	const unsigned char *end = memchr(data, '\0', length);

	if (end ? end - data > SOCKS_STRING_MAX : length > SOCKS_STRING_MAX)
		return fail_errno(EPROTO);
	return end ? end - data + 1 : 0;
}

/* A user behind eight bytes, and a host behind that for an address 0.0.0.x. */
static ssize_t
parse_socks4(const unsigned char *data, size_t length)
{
	ssize_t user, host = 0;

	if (length > 1 && data[1] != 1)
		return fail_errno(EOPNOTSUPP);
	if (length <= 8)
		return 0;
	user = nul_string_length(data + 8, length - 8);
	if (user > 0 && !data[4] && !data[5] && !data[6] && data[7]) {
		host = 8 + user == (ssize_t)length
		    ? 0
		    : nul_string_length(data + 8 + user, length - 8 - user);
		if (host <= 0)
			return host;
	}
	return user <= 0 ? user : 8 + user + host;
}

/* The first thing a client says: of HTTP, and of SOCKS4, it is all. */
static ssize_t
detect_protocol(const unsigned char *data, size_t length, void *arg)
{
	enum client_protocol *tongue = arg;

	if (data[0] == 4) {
		*tongue = SOCKS4;
		return parse_socks4(data, length);
	}
	if (data[0] == 5)
		return length < 2 || length < 2 + (size_t)data[1] ? 0
								  : 2 + data[1];
	if (!isupper(data[0]))
		return fail_errno(EPROTO);
	*tongue = HTTP;
	return http_head_length(data, length);
}

/* Version 1, a user and a password, each with its length in front. */
static ssize_t
parse_password(const unsigned char *data, size_t length, void *arg)
{
	ssize_t n = (ssize_t)length, user;

	(void)arg;
	if (data[0] != 1)
		return fail_errno(EPROTO);
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
		return fail_errno(EPROTO);
	if (length > 1 && data[1] != 1 && data[1] != 3)
		return fail_errno(EOPNOTSUPP);
	if (length < 4)
		return 0;
	n = socks_addr_length(data + 3, length - 3);
	return n <= 0 ? n : 3 + (size_t)n > length ? 0 : 3 + n;
}

static int
send_bytes(struct session *s, const void *data, size_t length)
{
	return io_write_all(&s->io, data, length);
}

static int
read_socks4(struct session *s)
{
	const unsigned char *data = s->in_buf, *host = data + 8;
	char text[SOCKS_STRING_MAX + 8], addr[INET_ADDRSTRLEN];
	bool name = !data[4] && !data[5] && !data[6] && data[7];

	if (s->conn->map->user) /* for which SOCKS4 has no password */
		return fail_errno(EPERM);
	host += strlen((const char *)host) + 1;
	inet_ntop(AF_INET, data + 4, addr, sizeof(addr));
	snprintf(text, sizeof(text), "%s:%u", name ? (const char *)host : addr,
	    (unsigned)(data[2] << 8 | data[3]));
	return set_requested(s, text);
}

static int
read_password(struct session *s)
{
	const struct map *map = s->conn->map;
	const char *data = (const char *)s->in_buf;
	unsigned char reply[] = {1, 0};
	size_t user;
	bool good;

	if (io_read_message(&s->io, s->in_buf, HTTP_HEAD_MAX, parse_password,
		NULL) == -1)
		return -1;
	user = s->in_buf[1];
	good = equal_constant_time(data + 2, user, map->user);
	good &= equal_constant_time(data + 3 + user, s->in_buf[2 + user],
	    map->password ? map->password : "");
	reply[1] = !good;
	if (send_bytes(s, reply, sizeof(reply)) == -1)
		return -1;
	return good ? 0 : fail_errno(EPERM);
}

static int
read_socks5(struct session *s)
{
	unsigned char method = s->conn->map->user ? 2 : 0;
	unsigned char reply[] = {5, method};
	char text[HOSTPORT_MAX];

	if (!memchr(s->in_buf + 2, method, s->in_buf[1]))
		reply[1] = 255;
	if (send_bytes(s, reply, sizeof(reply)) == -1)
		return -1;
	if (reply[1] == 255)
		return fail_errno(EPERM);
	if (method && read_password(s) == -1)
		return -1;
	s->tongue = SOCKS5;
	if (io_read_message(&s->io, s->in_buf, HTTP_HEAD_MAX, parse_request,
		NULL) == -1)
		return -1;
	s->udp = s->in_buf[1] == 3;
	if (s->udp)
		return s->conn->udp_fd == -1 ? fail_errno(EOPNOTSUPP) : 0;
	if (socks_addr_format(text, s->in_buf + 3) == -1)
		return -1;
	return set_requested(s, text);
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
	char wanted[BASIC_AUTH_MAX];
	const char *value;

	http_basic_auth(wanted, map->user, map->password);
	for (const char *line = first; *line; line = next_line(line)) {
		value = value_of(line, "Proxy-Authorization");
		if (value && strncasecmp(value, "Basic ", 6) == 0)
			return equal_constant_time(value + 6, strlen(value + 6),
			    wanted);
	}
	return false;
}

/* A header of this connection, by its name or because Connection names it. */
static bool
is_hop_by_hop(const char *header, const char *first)
{
	static const char *const names[] = {"Connection", "Host", "Keep-Alive",
	    "Proxy-Authenticate", "Proxy-Authorization", "Proxy-Connection",
	    "TE", "Trailer", "Upgrade"};
	size_t length = strcspn(header, ":");

	for (size_t i = 0; i < ARRAY_LEN(names); i++)
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
rewrite_request(struct session *s, const char *method, const char *url,
    const char *version, const char *first)
{
	size_t length, used, room = sizeof(s->request);
	char text[HOSTPORT_MAX];
	const char *colon;

	if (strncasecmp(url, "http://", 7) != 0)
		return fail_errno(EINVAL);
	url += 7;
	length = strcspn(url, "/?#");
	if (length + 4 > sizeof(text))
		return fail_errno(EINVAL);
	memcpy(text, url, length);
	text[length] = '\0';
	used = (size_t)snprintf(s->request, room,
	    "%s %s%s %s\r\nHost: %s\r\nConnection: close\r\n", method,
	    url[length] == '/' ? "" : "/", url + length, version, text);
	colon = strrchr(text, ':');
	if (!colon || strchr(colon, ']'))
		memcpy(text + length, ":80", 4);
	for (const char *line = first; *line; line = next_line(line))
		if (!is_hop_by_hop(line, first) && used < room)
			used += (size_t)snprintf(s->request + used, room - used,
			    "%s\r\n", line);
	if (used + 2 >= room)
		return fail_errno(EMSGSIZE);
	memcpy(s->request + used, "\r\n", 3);
	return set_requested(s, text);
}

static int
read_http_request(struct session *s, size_t length)
{
	char *line = (char *)s->in_buf, *method = line, *url, *version;
	const char *first;
	size_t n;

	s->in_buf[length] = '\0';
	for (char *end = line; (end = strstr(end, "\r\n"));)
		*end = '\0', end += 2;
	first = line + strlen(line) + 2;
	url = strchr(line, ' ');
	version = url ? strchr(url + 1, ' ') : NULL;
	if (!version ||
	    (strcmp(version, " HTTP/1.1") != 0 &&
		strcmp(version, " HTTP/1.0") != 0))
		return fail_errno(EINVAL);
	*url++ = *version++ = '\0';
	if (method[strspn(method, LETTERS "-")])
		return fail_errno(EINVAL);
	for (const char *header = first; *header; header = next_line(header)) {
		n = strcspn(header, ": \t");
		if (n == 0 || header[n] != ':')
			return fail_errno(EINVAL);
	}
	if (s->conn->map->user && !authorized(s->conn->map, first))
		return fail_errno(EPERM);
	if (strcmp(method, "CONNECT") != 0)
		return rewrite_request(s, method, url, version, first);
	s->tongue = CONNECT;
	return set_requested(s, url);
}

/* What the client asks for, in s->asked; or s->udp. */
static int
read_request(struct session *s)
{
	ssize_t length = io_read_message(&s->io, s->in_buf, HTTP_HEAD_MAX,
	    detect_protocol, &s->tongue);

	if (length == -1)
		return -1;
	if (s->tongue == SOCKS4)
		return read_socks4(s);
	if (s->in_buf[0] == 5)
		return read_socks5(s);
	return read_http_request(s, (size_t)length);
}

/* A number of SOCKS5 and a status of HTTP for it; SOCKS4 knows one only. */
static const struct send_reply {
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
send_http_error(struct session *s, const char *status, int err)
{
	char text[256];

	snprintf(text, sizeof(text),
	    "HTTP/1.1 %s\r\nConnection: close\r\nContent-Length: 0\r\n%s\r\n",
	    status,
	    err == EPERM ? "Proxy-Authenticate: Basic realm=\"nsfwd\"\r\n"
			 : "");
	return send_bytes(s, text, strlen(text));
}

/* err 0: it is connected. */
static int
send_reply(struct session *s, int err)
{
	unsigned char four[8] = {0, err ? 91 : 90}, five[10] = {5, 0, 0, 1};
	const struct send_reply *a = answers;

	if (err < 0) /* of getaddrinfo(3) */
		err = EHOSTUNREACH;
	while (a->err && a->err != err)
		a++;
	switch (s->tongue) {
	case SOCKS4:
		return send_bytes(s, four, sizeof(four));
	case SOCKS5:
		five[1] = (unsigned char)(err ? a->socks : 0);
		return send_bytes(s, five, sizeof(five));
	case HTTP:
		return err ? send_http_error(s, a->http, err) : 0;
	case CONNECT:
		if (err)
			return send_http_error(s, a->http, err);
		return send_bytes(s, CONNECTED, sizeof(CONNECTED) - 1);
	case PROTO_UNKNOWN:
		break;
	}
	return 0;
}

/* A reset would overtake the answer, and unread bytes make a close a reset. */
static void
send_error_and_close(struct session *s, int err)
{
	const struct linger off = {0};

	s->io.deadline = now_ms() + ERROR_LINGER_MS;
	if (s->tongue == PROTO_UNKNOWN ? err != EPERM
				       : send_reply(s, err) == -1)
		return;
	setsockopt(s->io.fd, SOL_SOCKET, SO_LINGER, &off, sizeof(off));
	shutdown(s->io.fd, SHUT_WR);
	while (io_wait_for(&s->io, POLLIN) == 0 &&
	    recv(s->io.fd, s->in_buf, sizeof(s->in_buf), 0) > 0)
		;
}

/* A status line; of an answer that is not the last one, the head to its end. */
static ssize_t
parse_status_line(const unsigned char *data, size_t length, void *arg)
{
	const unsigned char *end = memchr(data, '\n', length);
	bool *interim = arg;

	if (memcmp(data, "HTTP/1.", length < 7 ? length : 7) != 0 ||
	    (end && end < data + 12))
		return fail_errno(EIO);
	*interim = end && data[9] == '1';
	return !end    ? 0
	    : *interim ? http_head_length(data, length)
		       : end - data + 1;
}

/* 1: it was the last one, or the server is done; 0: not yet; -1 with errno. */
static int
forward_response_head(struct session *s, int server)
{
	const struct io io = {server, s->io.fd,
	    connect_deadline(s->conn->map, now_ms())};
	static const char end[] = "Connection: close\r\n";
	ssize_t n = recv(server, s->in_buf, 1, MSG_PEEK);
	bool interim = false;

	if (n <= 0)
		return n == 0 ? 1 : errno == EAGAIN ? 0 : -1;
	n = io_read_message(&io, s->in_buf, HTTP_HEAD_MAX, parse_status_line,
	    &interim);
	if (n == -1)
		return errno == EMSGSIZE ? fail_errno(EIO) : -1;
	s->in_buf[7] = '1'; /* keep-alive is said in another way in HTTP/1.0 */
	s->conn->report->down += (uint64_t)n;
	if (send_bytes(s, s->in_buf, (size_t)n) == -1 ||
	    (!interim && send_bytes(s, end, sizeof(end) - 1) == -1))
		return fail_errno(ECONNABORTED);
	return !interim;
}

/*
 * 1: the client is done; 0: not yet, and *full if the server takes no more. The
 * error of a write is kept for relay(): the end, and what came before, is the
 * server's to tell.
 */
static int
forward_body(struct session *s, int server, bool *full)
{
	struct conn_report *report = s->conn->report;
	ssize_t n = recv(s->io.fd, s->request, sizeof(s->request), MSG_PEEK);

	*full = false;
	if (n <= 0)
		return n == 0         ? 1
		    : errno == EAGAIN ? 0
				      : fail_errno(ECONNABORTED);
	n = send(server, s->request, (size_t)n, MSG_NOSIGNAL);
	*full = n == -1 && errno == EAGAIN;
	if (n == -1 && !*full)
		s->conn->refused = errno;
	if (n == -1)
		return 0;
	report->up += (uint64_t)n;
	return recv(s->io.fd, s->request, (size_t)n, 0) == n ? 0 : -1;
}

/*
 * A server that keeps the connection open, whatever it was told, would get, and
 * could answer, what the client next asks another one for. So the answer says
 * that nothing comes behind it; until it is there, the request goes on. A client
 * that resets hears no answer: relay() delivers what it has sent.
 */
static int
forward_request(struct session *s, int server)
{
	const msec idle = s->conn->map->times.idle;
	const int *refused = &s->conn->refused;
	struct pollfd client = {.fd = s->io.fd}, watched[2];
	bool full = false;
	int n = 0;

	while (n == 0) {
		client.events = full || *refused ? POLLERR | POLLHUP : POLLIN;
		watched[0] = client;
		watched[1] = (struct pollfd){server,
		    full ? POLLIN | POLLOUT : POLLIN, 0};
		if (io_wait(watched, 2, idle ? now_ms() + idle : NEVER) == -1)
			return -1;
		if (watched[0].revents & (POLLERR | POLLHUP))
			return 0;
		if (watched[1].revents & ~POLLOUT)
			n = forward_response_head(s, server);
		if (n == 0 && !*refused &&
		    (watched[0].revents || watched[1].revents & POLLOUT))
			n = forward_body(s, server, &full);
	}
	return n == 1 ? 0 : -1;
}

/* What the server answers counts, also where it does not take the request. */
static int
forward_plain_http(struct session *s, const struct io *server)
{
	struct conn_report *report = s->conn->report;
	bool sent = io_write_all(server, s->request, strlen(s->request)) == 0;

	if (sent)
		report->up += strlen(s->request);
	else if (errno != ETIMEDOUT && errno != ECONNABORTED)
		s->conn->refused = errno;
	if ((sent || s->conn->refused) && forward_request(s, server->fd) == 0)
		return 0;
	report->end = errno == ETIMEDOUT ? END_IDLE : END_TARGET;
	if (errno == ECONNABORTED) {
		io_wait_acked(server->fd);
		errno = ECONNABORTED;
	}
	return -1;
}

/* Dials it, or does not, and says so. */
static int
connect_requested(struct session *s)
{
	struct conn *conn = s->conn;
	struct io server = {-1, conn->client, conn->deadline};
	struct sockaddr_storage addr;

	errno = EACCES;
	conn->requested = &s->asked;
	if (!endpoint_sockaddr(&addr, &s->asked, 0, AF_UNSPEC) ||
	    reach_allows(conn->map, &addr))
		server.fd = dial(conn);
	conn->requested = NULL;
	if (server.fd == -1)
		return -1;
	if ((s->tongue == HTTP ? forward_plain_http(s, &server)
			       : send_reply(s, 0)) == 0)
		return server.fd;
	close(server.fd);
	return -1;
}

int
proxy_handle_client(struct conn *conn)
{
	struct session s = {
	    .conn = conn,
	    .io = {conn->client, -1, conn->deadline},
	};
	bool heard = read_request(&s) == 0;
	int fd = -1, err;

	if (heard && s.udp) {
		conn->report->end = (int32_t)udp_associate(conn);
		return fail_errno(conn->report->end == END_CLOSED ? 0 : errno);
	}
	if (conn->udp_fd != -1)
		close(conn->udp_fd);
	if (heard)
		fd = connect_requested(&s);
	err = errno;
	endpoint_free(&s.asked);
	if (fd != -1)
		return fd;
	if (!conn->report->end)
		conn->report->end = heard ? END_DIAL : END_HANDSHAKE;
	if (err != ECONNABORTED && err != ECONNRESET &&
	    (heard || err != ETIMEDOUT))
		send_error_and_close(&s, err);
	return fail_errno(err);
}
