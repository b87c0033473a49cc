/* Reads the request of a proxy's client, and sends the reply. */

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/types.h>

#include "base/clock.h"
#include "base/io.h"
#include "base/memory.h"
#include "base/report.h"
#include "base/sock.h"
#include "config/endpoint.h"
#include "config/map.h"
#include "proxy/auth.h"
#include "proxy/http.h"
#include "proxy/server.h"
#include "proxy/socks.h"

#define LINGER_MS     1000  /* for the client to read what was sent */
#define KEEP_ALIVE_MS 15000 /* for the next request of a client */

/* Methods and commands of SOCKS5, RFC 1928. */
enum {
	METHOD_NONE = 0,
	METHOD_PASSWORD = 2,
	METHOD_REFUSED = 255,
	COMMAND_CONNECT = 1,
	COMMAND_UDP_ASSOCIATE = 3
};

/* The size of both buffers, for `used` after more than a request was read. */
#define ALL \
	(sizeof(struct proxy_session) - offsetof(struct proxy_session, in_buf))

/* Takes HOST:PORT. An IPv6 address has brackets, or the last colon counts. */
static int
set_requested(struct proxy_session *s, const char *text)
{
	const char *port = strrchr(text, ':');
	bool bare = port && *text != '[' && strchr(text, ':') != port;
	size_t host = port ? (size_t)(port - text) : 0;

	snprintf(s->report->requested, HOSTPORT_MAX,
	    bare ? "[%.*s]%s" : "%.*s%s", (int)host, text, text + host);
	if (strlen(text) + 2 >= HOSTPORT_MAX)
		return fail_errno(EINVAL);
	return endpoint_parse_untrusted(&s->target, s->report->requested);
}

/* Records the request for the log. */
static void
report_request(struct proxy_session *s, const char *method, bool authorized)
{
	struct conn_report *r = s->report;

	r->n_requests++;
	r->requested[0] = '\0';
	snprintf(r->method, sizeof(r->method), "%s", method);
	r->authorized = authorized && s->map->user;
}

/*
 * Returns the length of a string of at most SOCKS_STRING_MAX bytes, its NUL
 * included; 0 if the NUL is not there yet; -1 with EPROTO.
 */
static ssize_t
nul_string_length(const unsigned char *data, size_t length)
{
	const unsigned char *end = memchr(data, '\0', length);

	if (end ? end - data > SOCKS_STRING_MAX : length > SOCKS_STRING_MAX)
		return fail_errno(EPROTO);
	return end ? end - data + 1 : 0;
}

/* Returns true for the address 0.0.0.x of SOCKS4a: a host name follows. */
static bool
has_socks4a_host(const unsigned char *data)
{
	return !data[4] && !data[5] && !data[6] && data[7];
}

/* Parses a request of SOCKS4: eight bytes, a user and, in SOCKS4a, a host. */
static ssize_t
parse_socks4_request(const unsigned char *data, size_t length)
{
	ssize_t user, host = 0;

	if (length > 1 && data[1] != COMMAND_CONNECT)
		return fail_errno(EOPNOTSUPP);
	if (length <= 8)
		return 0;
	user = nul_string_length(data + 8, length - 8);
	if (user > 0 && has_socks4a_host(data)) {
		host = 8 + user == (ssize_t)length
		    ? 0
		    : nul_string_length(data + 8 + user, length - 8 - user);
		if (host <= 0)
			return host;
	}
	return user <= 0 ? user : 8 + user + host;
}

/*
 * Parses the first message of a client: the whole request of SOCKS4 or HTTP, or
 * the methods of SOCKS5, which leave *kind as it is.
 */
static ssize_t
parse_first_message(const unsigned char *data, size_t length, void *arg)
{
	enum request_kind *kind = arg;

	if (data[0] == 4) {
		*kind = REQUEST_SOCKS4;
		return parse_socks4_request(data, length);
	}
	if (data[0] == 5)
		return length < 2 || length < 2 + (size_t)data[1] ? 0
								  : 2 + data[1];
	if (!http_is_token_char(data[0]) && data[0] != '\r' && data[0] != '\n')
		return fail_errno(EPROTO);
	*kind = REQUEST_HTTP;
	return http_head_length(data, length);
}

/* Parses version 1, a user and a password, each behind its length, RFC 1929. */
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
parse_socks5_request(const unsigned char *data, size_t length, void *arg)
{
	ssize_t n;

	(void)arg;
	if (data[0] != 5 || (length > 2 && data[2] != 0))
		return fail_errno(EPROTO);
	if (length > 1 && data[1] != COMMAND_CONNECT &&
	    data[1] != COMMAND_UDP_ASSOCIATE)
		return fail_errno(EOPNOTSUPP);
	if (length < 4)
		return 0;
	n = socks_addr_length(data + 3, length - 3);
	return n <= 0 ? n : 3 + (size_t)n > length ? 0 : 3 + n;
}

static int
send_bytes(struct proxy_session *s, const void *data, size_t length)
{
	return io_write_all(&s->client, data, length);
}

static ssize_t
read_message(struct proxy_session *s, io_parser *parse, void *arg)
{
	ssize_t n =
	    io_read_message(&s->client, s->in_buf, HTTP_HEAD_MAX, parse, arg);

	if (n == -1)
		s->used = ALL;
	else if (s->used < (size_t)n + IO_PEEK)
		s->used = (size_t)n + IO_PEEK;
	return n;
}

/*
 * Refuses all clients if the map has a password, because SOCKS4 cannot carry
 * it.
 */
static int
take_socks4_request(struct proxy_session *s)
{
	const unsigned char *data = s->in_buf, *host = data + 8;
	char text[SOCKS_STRING_MAX + 8], addr[INET_ADDRSTRLEN];

	report_request(s, "SOCKS4", false);
	if (s->map->user)
		return fail_errno(EPERM);
	host += strlen((const char *)host) + 1;
	inet_ntop(AF_INET, data + 4, addr, sizeof(addr));
	snprintf(text, sizeof(text), "%s:%u",
	    has_socks4a_host(data) ? (const char *)host : addr,
	    (unsigned)(data[2] << 8 | data[3]));
	return set_requested(s, text);
}

static int
read_password(struct proxy_session *s)
{
	const struct map *map = s->map;
	const char *data = (const char *)s->in_buf;
	unsigned char reply[] = {1, 0};
	size_t user;
	bool good;

	if (read_message(s, parse_password, NULL) == -1)
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

/* Chooses one of the client's methods, and authenticates the client by it. */
static int
negotiate_method(struct proxy_session *s)
{
	unsigned char method = s->map->user ? METHOD_PASSWORD : METHOD_NONE;
	unsigned char reply[] = {5, method};

	if (!memchr(s->in_buf + 2, method, s->in_buf[1]))
		reply[1] = METHOD_REFUSED;
	if (send_bytes(s, reply, sizeof(reply)) == -1)
		return -1;
	if (reply[1] == METHOD_REFUSED)
		return fail_errno(EPERM);
	return method == METHOD_PASSWORD ? read_password(s) : 0;
}

static int
read_socks5_request(struct proxy_session *s)
{
	char text[HOSTPORT_MAX];

	if (negotiate_method(s) == -1)
		return -1;
	s->kind = REQUEST_SOCKS5;
	if (read_message(s, parse_socks5_request, NULL) == -1)
		return -1;
	s->udp = s->in_buf[1] == COMMAND_UDP_ASSOCIATE;
	report_request(s, s->udp ? "UDP" : "SOCKS5", true);
	if (s->udp)
		return s->udp_offered ? 0 : fail_errno(EOPNOTSUPP);
	if (socks_addr_format(text, s->in_buf + 3) == -1)
		return -1;
	return set_requested(s, text);
}

static int
take_http_request(struct proxy_session *s, size_t length)
{
	const struct map *map = s->map;
	struct http_request *r = &s->request;
	char target[HOSTPORT_MAX];
	const char *at;
	bool authorized;

	if (http_parse_request(r, (char *)s->in_buf, length) == -1)
		return -1;
	authorized =
	    !map->user || http_is_authorized(r, map->user, map->password);
	report_request(s, r->method, authorized);
	if (!authorized)
		return fail_errno(EPERM);
	if (strcmp(r->method, "CONNECT") == 0) {
		s->kind = REQUEST_CONNECT;
		at = strrchr(r->url, '@');
		return set_requested(s, at ? at + 1 : r->url);
	}
	s->used = ALL;
	if (http_rewrite_request(r, s->out, sizeof(s->out), target) == -1)
		return -1;
	return set_requested(s, target);
}

int
proxy_read_request(struct proxy_session *s)
{
	ssize_t length = read_message(s, parse_first_message, &s->kind);

	if (length == -1)
		return -1;
	if (s->kind == REQUEST_SOCKS4)
		return take_socks4_request(s);
	if (s->kind == REQUEST_HTTP)
		return take_http_request(s, (size_t)length);
	return read_socks5_request(s);
}

/* The reply of SOCKS5 and of HTTP for an errno. SOCKS4 has a single refusal. */
static const struct reply_code {
	int err, socks5;
	const char *http;
} reply_codes[] = {
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

static const struct reply_code *
find_reply_code(int err)
{
	const struct reply_code *code = reply_codes;

	if (err < 0) /* enum name_error */
		err = EHOSTUNREACH;
	while (code->err && code->err != err)
		code++;
	return code;
}

static int
send_http_error(struct proxy_session *s, int err)
{
	char text[256];

	snprintf(text, sizeof(text),
	    "HTTP/1.1 %s\r\nConnection: close\r\nContent-Length: 0\r\n%s\r\n",
	    find_reply_code(err)->http,
	    err == EPERM ? "Proxy-Authenticate: Basic realm=\"nsfwd\"\r\n"
			 : "");
	return send_bytes(s, text, strlen(text));
}

int
proxy_send_reply(struct proxy_session *s, int err)
{
	static const char connected[] =
	    "HTTP/1.1 200 Connection established\r\n\r\n";
	unsigned char socks4[8] = {0, err ? 91 : 90};
	unsigned char socks5[10] = {5, 0, 0, SOCKS_ATYP_V4};

	switch (s->kind) {
	case REQUEST_SOCKS4:
		return send_bytes(s, socks4, sizeof(socks4));
	case REQUEST_SOCKS5:
		if (err)
			socks5[1] = (unsigned char)find_reply_code(err)->socks5;
		return send_bytes(s, socks5, sizeof(socks5));
	case REQUEST_HTTP:
		return err ? send_http_error(s, err) : 0;
	case REQUEST_CONNECT:
		return err ? send_http_error(s, err)
			   : send_bytes(s, connected, sizeof(connected) - 1);
	case REQUEST_NONE:
		break;
	}
	return 0;
}

bool
proxy_wait_request(struct proxy_session *s)
{
	msec now = now_ms(), idle = s->map->times.idle;
	unsigned char byte;

	s->client.deadline = deadline_after(now,
	    idle && idle < KEEP_ALIVE_MS ? idle : KEEP_ALIVE_MS);
	if (io_wait_for(&s->client, POLLIN) == -1 ||
	    recv(s->client.fd, &byte, 1, MSG_PEEK) != 1)
		return false;
	s->client.deadline = deadline_after(now_ms(), s->map->times.connect);
	s->kind = REQUEST_NONE;
	return true;
}

void
proxy_close(struct proxy_session *s)
{
	int fd = s->client.fd;

	s->used = ALL;
	s->client.deadline = now_ms() + LINGER_MS;
	sock_reset_on_close(fd, false);
	shutdown(fd, SHUT_WR);
	while (io_wait_for(&s->client, POLLIN) == 0 &&
	    recv(fd, s->in_buf, sizeof(s->in_buf), 0) > 0)
		;
}

void
proxy_send_error_and_close(struct proxy_session *s, int err)
{
	if (err == ECONNABORTED || err == ECONNRESET)
		return;
	/* A refused method or password of SOCKS5 has had its reply. */
	if (s->kind == REQUEST_NONE && err != EPERM)
		return;
	s->client.deadline = now_ms() + LINGER_MS;
	if (proxy_send_reply(s, err) == 0)
		proxy_close(s);
}

void
proxy_forget(struct proxy_session *s)
{
	memory_wipe(s, offsetof(struct proxy_session, in_buf) + s->used);
}
