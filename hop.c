/* What is said to a proxy on the way, and how anything is said or heard. */

#include <arpa/inet.h>
#include <ctype.h>
#include <errno.h>
#include <string.h>

#include "hop.h"
#include "io.h"
#include "nsfwd.h"

#define INTERIM_MAX 8 /* HTTP replies 1xx before the one that counts */

int
fail_errno(int err)
{
	errno = err;
	return -1;
}

int
io_wait_for(const struct io *io, short events)
{
	struct pollfd watched[2] = {
	    {.fd = io->fd, .events = events},
	    {.fd = io->abort_fd, .events = POLLERR},
	};

	if (io_wait(watched, 2, io->deadline) == -1)
		return -1;
	return watched[1].revents ? fail_errno(ECONNABORTED) : 0;
}

int
io_write_all(const struct io *io, const void *data, size_t length)
{
	const unsigned char *at = data;

	while (length) {
		ssize_t n = send(io->fd, at, length, MSG_NOSIGNAL);

		if (n == -1 && errno == EAGAIN) {
			if (io_wait_for(io, POLLOUT) == -1)
				return -1;
		} else if (n == -1 && errno != EINTR) {
			return -1;
		} else if (n > 0) {
			at += n;
			length -= (size_t)n;
		}
	}
	return 0;
}

/*
 * What was peeked at and is not enough belongs to the message and is taken, so
 * that the next wait is for more; of the rest only what belongs to it.
 */
ssize_t
io_read_message(const struct io *io, unsigned char *data, size_t size,
    io_parser *parse, void *arg)
{
	size_t have = 0;
	ssize_t n, used = 0;

	while (!used) {
		n = recv(io->fd, data + have, size - have, MSG_PEEK);
		if (n == -1 && errno == EAGAIN) {
			if (io_wait_for(io, POLLIN) == -1)
				return -1;
			continue;
		}
		if (n == -1 && errno == EINTR)
			continue;
		if (n <= 0)
			return n ? -1 : fail_errno(ECONNRESET);
		used = parse(data, have + (size_t)n, arg);
		if (used == -1)
			return -1;
		if (used)
			n = used - (ssize_t)have;
		if (n <= 0 || recv(io->fd, data + have, (size_t)n, 0) != n)
			return fail_errno(EPROTO);
		have += (size_t)n;
		if (!used && have == size)
			return fail_errno(EMSGSIZE);
	}
	return used;
}

ssize_t
http_head_length(const unsigned char *data, size_t length)
{
	for (size_t i = 0; i < length; i++) {
		unsigned char c = data[i], before = i ? data[i - 1] : 0;

		if ((c == '\n') != (before == '\r') ||
		    ((c < ' ' || c == 127) && !strchr("\r\n\t", c)) || !c)
			return fail_errno(EPROTO);
		if (c == '\n' && i >= 3 && data[i - 2] == '\n')
			return (ssize_t)i + 1;
	}
	return 0;
}

void
http_basic_auth(char *out, const char *user, const char *password)
{
	static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
				     "abcdefghijklmnopqrstuvwxyz0123456789+/";
	char text[2 * SOCKS_STRING_MAX + 2];
	size_t length;

	snprintf(text, sizeof(text), "%.*s:%.*s", SOCKS_STRING_MAX, user,
	    SOCKS_STRING_MAX, password ? password : "");
	length = strlen(text);
	for (size_t i = 0; i < length; i += 3) {
		uint32_t bits = 0;

		for (size_t k = 0; k < 3; k++)
			bits = bits << 8 |
			    (i + k < length ? (unsigned char)text[i + k] : 0);
		for (int shift = 18; shift >= 0; shift -= 6)
			*out++ = digits[bits >> shift & 63];
		if (i + 2 >= length)
			out[-1] = '=';
		if (i + 1 >= length)
			out[-2] = '=';
	}
	*out = '\0';
}

/* A status line, and a head to its end; *arg gets the status. */
static ssize_t
parse_http(const unsigned char *data, size_t length, void *arg)
{
	static const unsigned char form[] = "HTTP/1.d ddd";
	int *code = arg;

	for (size_t i = 0; i < length && form[i]; i++)
		if (form[i] == 'd' ? !isdigit(data[i]) : data[i] != form[i])
			return fail_errno(EPROTO);
	if (length > 12 && data[12] != ' ' && data[12] != '\r')
		return fail_errno(EPROTO);
	if (length >= 12)
		*code = (data[9] - '0') * 100 + (data[10] - '0') * 10 +
		    data[11] - '0';
	return http_head_length(data, length);
}

/* What SOCKS5 says of a method or a password: the version, then a code. */
struct socks_reply {
	unsigned char version;
	int code;
};

static ssize_t
parse_method_reply(const unsigned char *data, size_t length, void *arg)
{
	struct socks_reply *verdict = arg;

	if (data[0] != verdict->version)
		return fail_errno(EPROTO);
	if (length < 2)
		return 0;
	verdict->code = data[1];
	return 2;
}

/* Behind a refusal nothing counts, and often nothing comes. */
static ssize_t
parse_connect_reply(const unsigned char *data, size_t length, void *arg)
{
	struct socks_reply *verdict = arg;
	ssize_t used = parse_method_reply(data, length, arg);

	if (used != 2 || verdict->code != 0)
		return used;
	if (length > 2 && data[2] != 0)
		return fail_errno(EPROTO);
	used = socks_addr_length(data + 3, length > 3 ? length - 3 : 0);
	if (used <= 0 || (size_t)used + 3 > length)
		return used < 0 ? -1 : 0;
	return used + 3;
}

ssize_t
socks_addr_length(const unsigned char *data, size_t length)
{
	if (length == 0)
		return 0;
	if (data[0] == SOCKS_ATYP_V4 || data[0] == SOCKS_ATYP_V6)
		return data[0] == SOCKS_ATYP_V4 ? 1 + 4 + 2 : 1 + 16 + 2;
	if (data[0] != SOCKS_ATYP_DOMAIN)
		return fail_errno(EAFNOSUPPORT);
	return length > 1 ? 2 + data[1] + 2 : 0;
}

static int
socks_error(int code)
{
	static const int errors[] = {0, EIO, EACCES, ENETUNREACH, EHOSTUNREACH,
	    ECONNREFUSED, ETIMEDOUT, EOPNOTSUPP, EAFNOSUPPORT};

	return code < 9 ? errors[code] : EIO;
}

static int
http_error(int code)
{
	return code == 401 || code == 403 || code == 407 ? EACCES
	    : code == 504                                ? ETIMEDOUT
	    : code == 502 || code == 503                 ? EHOSTUNREACH
							 : ECONNREFUSED;
}

static unsigned char *
put_socks_string(unsigned char *at, const char *word)
{
	size_t length = strnlen(word, SOCKS_STRING_MAX);

	*at++ = (unsigned char)length;
	memcpy(at, word, length);
	return at + length;
}

/* Returns the end of the address, in the form that SOCKS5 gives it. */
static unsigned char *
put_socks_addr(unsigned char *at, const struct endpoint *to, uint16_t port)
{
	const uint32_t loopback = htonl(INADDR_LOOPBACK);
	bool six = to->kind == EP_IPV6;

	if (to->kind == SIDE_HOST) {
		*at++ = SOCKS_ATYP_DOMAIN;
		at = put_socks_string(at, to->name);
	} else {
		*at++ = six ? SOCKS_ATYP_V6 : SOCKS_ATYP_V4;
		if (to->kind == SIDE_LOOPBACK)
			memcpy(at, &loopback, 4);
		else
			memcpy(at, &to->addr, six ? 16 : 4);
		at += six ? 16 : 4;
	}
	*at++ = (unsigned char)(port >> 8);
	*at++ = (unsigned char)port;
	return at;
}

static int
http_connect(const struct io *io, const struct hop *hop,
    const struct endpoint *to, uint16_t port, int *code)
{
	char basic[BASIC_AUTH_MAX], name[HOSTPORT_MAX], text[2048];
	unsigned char head[HTTP_HEAD_MAX];

	put_socks_addr(head, to, port);
	socks_addr_format(name, head);
	if (hop->user)
		http_basic_auth(basic, hop->user, hop->password);
	snprintf(text, sizeof(text),
	    "CONNECT %s HTTP/1.1\r\nHost: %s\r\n%s%s%s\r\n", name, name,
	    hop->user ? "Proxy-Authorization: Basic " : "",
	    hop->user ? basic : "", hop->user ? "\r\n" : "");
	if (io_write_all(io, text, strlen(text)) == -1)
		return -1;
	for (int i = 0; i < INTERIM_MAX; i++) {
		if (io_read_message(io, head, sizeof(head), parse_http, code) ==
		    -1)
			return -1;
		if (*code / 100 == 2)
			return *code = 0;
		if (*code / 100 != 1)
			return fail_errno(http_error(*code));
	}
	return fail_errno(EPROTO);
}

/* User and password, RFC 1929. */
static int
socks5_auth(const struct io *io, const struct hop *hop)
{
	struct socks_reply verdict = {.version = 1};
	unsigned char data[2 * SOCKS_STRING_MAX + 3] = {1}, *at;

	at = put_socks_string(data + 1, hop->user);
	at = put_socks_string(at, hop->password ? hop->password : "");
	if (io_write_all(io, data, (size_t)(at - data)) == -1 ||
	    io_read_message(io, data, sizeof(data), parse_method_reply,
		&verdict) == -1)
		return -1;
	return verdict.code ? fail_errno(EACCES) : 0;
}

/* Where to, RFC 1928. */
static int
socks5_request(const struct io *io, const struct endpoint *to, uint16_t port,
    int *code)
{
	struct socks_reply verdict = {.version = 5};
	unsigned char data[3 + 2 + SOCKS_STRING_MAX + 2] = {5, 1, 0}, *end;

	end = put_socks_addr(data + 3, to, port);
	if (io_write_all(io, data, (size_t)(end - data)) == -1 ||
	    io_read_message(io, data, sizeof(data), parse_connect_reply,
		&verdict) == -1)
		return -1;
	*code = verdict.code;
	return verdict.code ? fail_errno(socks_error(verdict.code)) : 0;
}

static int
socks5_connect(const struct io *io, const struct hop *hop,
    const struct endpoint *to, uint16_t port, int *code)
{
	struct socks_reply verdict = {.version = 5};
	unsigned char data[] = {5, 1, 0, 2};

	data[1] = hop->user ? 2 : 1;
	if (io_write_all(io, data, 2 + (size_t)data[1]) == -1 ||
	    io_read_message(io, data, sizeof(data), parse_method_reply,
		&verdict) == -1)
		return -1;
	if (verdict.code == 2 && hop->user) {
		if (socks5_auth(io, hop) == -1)
			return -1;
	} else if (verdict.code) {
		return fail_errno(verdict.code == 255 ? EACCES : EPROTO);
	}
	return socks5_request(io, to, port, code);
}

int
hop_connect(const struct io *io, const struct hop *hop,
    const struct endpoint *to, unsigned index, int *code)
{
	uint16_t port = (uint16_t)(to->port_first + index);

	*code = 0;
	return hop->kind == HOP_HTTP ? http_connect(io, hop, to, port, code)
				     : socks5_connect(io, hop, to, port, code);
}

int
socks_addr_format(char *text, const unsigned char *at)
{
	char host[SOCKS_STRING_MAX + 1];
	size_t length = at[0] == SOCKS_ATYP_V4 ? 4 : 16;
	const unsigned char *port = at + 1 + length;

	if (at[0] == SOCKS_ATYP_DOMAIN) {
		length = at[1];
		port = at + 2 + length;
		memcpy(host, at + 2, length);
		host[length] = '\0';
		if (strlen(host) != length)
			return fail_errno(EINVAL);
	} else {
		inet_ntop(length == 4 ? AF_INET : AF_INET6, at + 1, host,
		    sizeof(host));
	}
	snprintf(text, HOSTPORT_MAX, strchr(host, ':') ? "[%s]:%u" : "%s:%u",
	    host, (unsigned)(port[0] << 8 | port[1]));
	return 0;
}

int
endpoint_parse_untrusted(struct endpoint *ep, const char *text)
{
	static const char allowed_chars[] =
	    "abcdefghijklmnopqrstuvwxyz0123456789"
	    "ABCDEFGHIJKLMNOPQRSTUVWXYZ-._:[]";
	char word[HOSTPORT_MAX];
	const char *part;

	endpoint_free(ep);
	*ep = (struct endpoint){0};
	if (strlen(text) >= sizeof(word) || text[strspn(text, allowed_chars)])
		return fail_errno(EINVAL);
	memcpy(word, text, strlen(text) + 1);
	if (endpoint_parse(ep, word, 1, &part) ||
	    (ep->kind != EP_IPV4 && ep->kind != EP_IPV6 &&
		ep->kind != SIDE_HOST))
		return fail_errno(EINVAL);
	return 0;
}
