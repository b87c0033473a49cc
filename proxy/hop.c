/* Asks a proxy for a connection to a target: HTTP CONNECT and SOCKS5. */

#include <arpa/inet.h>
#include <ctype.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/types.h>

#include "base/io.h"
#include "base/report.h"
#include "config/endpoint.h"
#include "config/map.h"
#include "proxy/auth.h"
#include "proxy/hop.h"
#include "proxy/http.h"
#include "proxy/socks.h"

#define INTERIM_MAX 8 /* HTTP responses 1xx before the final one */

/* Parses the head of an HTTP response, and stores the status in *arg. */
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

/* The start of every SOCKS5 reply. */
struct socks_reply {
	unsigned char version; /* expected: 5, or 1 for a password */
	int code;
};

static ssize_t
parse_method_reply(const unsigned char *data, size_t length, void *arg)
{
	struct socks_reply *reply = arg;

	if (data[0] != reply->version)
		return fail_errno(EPROTO);
	if (length < 2)
		return 0;
	reply->code = data[1];
	return 2;
}

/* A refusal ends behind its code, because often no address follows. */
static ssize_t
parse_connect_reply(const unsigned char *data, size_t length, void *arg)
{
	struct socks_reply *reply = arg;
	ssize_t used = parse_method_reply(data, length, arg);

	if (used != 2 || reply->code != 0)
		return used;
	if (length > 2 && data[2] != 0)
		return fail_errno(EPROTO);
	used = socks_addr_length(data + 3, length > 3 ? length - 3 : 0);
	if (used <= 0 || (size_t)used + 3 > length)
		return used < 0 ? -1 : 0;
	return used + 3;
}

/* Returns the errno for a reply code, RFC 1928 section 6. */
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
put_socks_string(unsigned char *at, const char *text)
{
	size_t length = strnlen(text, SOCKS_STRING_MAX);

	*at++ = (unsigned char)length;
	memcpy(at, text, length);
	return at + length;
}

/* Writes an address in the form of SOCKS5. Returns its end. */
static unsigned char *
put_socks_addr(unsigned char *at, const struct endpoint *target, uint16_t port)
{
	const uint32_t loopback = htonl(INADDR_LOOPBACK);
	bool six = target->kind == EP_IPV6;

	if (target->kind == EP_HOST) {
		*at++ = SOCKS_ATYP_DOMAIN;
		at = put_socks_string(at, target->name);
	} else {
		*at++ = six ? SOCKS_ATYP_V6 : SOCKS_ATYP_V4;
		if (target->kind == EP_LOOPBACK)
			memcpy(at, &loopback, 4);
		else
			memcpy(at, &target->addr, six ? 16 : 4);
		at += six ? 16 : 4;
	}
	*at++ = (unsigned char)(port >> 8);
	*at++ = (unsigned char)port;
	return at;
}

static int
http_connect(const struct io *io, const struct hop *hop,
    const struct endpoint *target, uint16_t port, int *code)
{
	char basic[BASIC_AUTH_MAX], name[HOSTPORT_MAX], text[2048];
	unsigned char head[HTTP_HEAD_MAX];

	put_socks_addr(head, target, port);
	socks_addr_format(name, head);
	if (hop->user)
		basic_auth_encode(basic, hop->user, hop->password);
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

/* Sends the user and the password, RFC 1929. */
static int
socks5_auth(const struct io *io, const struct hop *hop)
{
	struct socks_reply reply = {.version = 1};
	unsigned char data[2 * SOCKS_STRING_MAX + 3] = {1}, *at;

	at = put_socks_string(data + 1, hop->user);
	at = put_socks_string(at, hop->password ? hop->password : "");
	if (io_write_all(io, data, (size_t)(at - data)) == -1 ||
	    io_read_message(io, data, sizeof(data), parse_method_reply,
		&reply) == -1)
		return -1;
	return reply.code ? fail_errno(EACCES) : 0;
}

/* Sends the request, RFC 1928 section 4. */
static int
socks5_request(const struct io *io, const struct endpoint *target,
    uint16_t port, int *code)
{
	struct socks_reply reply = {.version = 5};
	unsigned char data[3 + 2 + SOCKS_STRING_MAX + 2] = {5, 1, 0}, *end;

	end = put_socks_addr(data + 3, target, port);
	if (io_write_all(io, data, (size_t)(end - data)) == -1 ||
	    io_read_message(io, data, sizeof(data), parse_connect_reply,
		&reply) == -1)
		return -1;
	*code = reply.code;
	return reply.code ? fail_errno(socks_error(reply.code)) : 0;
}

static int
socks5_connect(const struct io *io, const struct hop *hop,
    const struct endpoint *target, uint16_t port, int *code)
{
	struct socks_reply reply = {.version = 5};
	unsigned char data[] = {5, 1, 0, 2};

	data[1] = hop->user ? 2 : 1;
	if (io_write_all(io, data, 2 + (size_t)data[1]) == -1 ||
	    io_read_message(io, data, sizeof(data), parse_method_reply,
		&reply) == -1)
		return -1;
	if (reply.code == 2 && hop->user) {
		if (socks5_auth(io, hop) == -1)
			return -1;
	} else if (reply.code) {
		return fail_errno(reply.code == 255 ? EACCES : EPROTO);
	}
	return socks5_request(io, target, port, code);
}

int
hop_connect(const struct io *io, const struct hop *hop,
    const struct endpoint *target, unsigned index, int *code)
{
	uint16_t port = (uint16_t)(target->port_first + index);

	*code = 0;
	return hop->kind == HOP_HTTP
	    ? http_connect(io, hop, target, port, code)
	    : socks5_connect(io, hop, target, port, code);
}
