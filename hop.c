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
hop_refuse(int err)
{
	errno = err;
	return -1;
}

int
hop_wait(const struct line *line, short events)
{
	struct pollfd watched[2] = {
	    {.fd = line->fd, .events = events},
	    {.fd = line->client, .events = POLLERR},
	};

	if (io_wait(watched, 2, line->until) == -1)
		return -1;
	return watched[1].revents ? hop_refuse(ECONNABORTED) : 0;
}

int
hop_write(const struct line *line, const void *data, size_t length)
{
	const unsigned char *at = data;

	while (length) {
		ssize_t n = send(line->fd, at, length, MSG_NOSIGNAL);

		if (n == -1 && errno == EAGAIN) {
			if (hop_wait(line, POLLOUT) == -1)
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
hop_read(const struct line *line, unsigned char *data, size_t size,
    hop_parser *parse, void *arg)
{
	size_t have = 0;
	ssize_t n, used = 0;

	while (!used) {
		n = recv(line->fd, data + have, size - have, MSG_PEEK);
		if (n == -1 && errno == EAGAIN) {
			if (hop_wait(line, POLLIN) == -1)
				return -1;
			continue;
		}
		if (n == -1 && errno == EINTR)
			continue;
		if (n <= 0)
			return n ? -1 : hop_refuse(ECONNRESET);
		used = parse(data, have + (size_t)n, arg);
		if (used == -1)
			return -1;
		if (used)
			n = used - (ssize_t)have;
		if (n <= 0 || recv(line->fd, data + have, (size_t)n, 0) != n)
			return hop_refuse(EPROTO);
		have += (size_t)n;
		if (!used && have == size)
			return hop_refuse(EMSGSIZE);
	}
	return used;
}

ssize_t
hop_head(const unsigned char *data, size_t length)
{
	for (size_t i = 0; i < length; i++) {
		unsigned char c = data[i], before = i ? data[i - 1] : 0;

		if ((c == '\n') != (before == '\r') ||
		    ((c < ' ' || c == 127) && !strchr("\r\n\t", c)) || !c)
			return hop_refuse(EPROTO);
		if (c == '\n' && i >= 3 && data[i - 2] == '\n')
			return (ssize_t)i + 1;
	}
	return 0;
}

void
hop_basic(char *out, const char *user, const char *password)
{
	static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
				     "abcdefghijklmnopqrstuvwxyz0123456789+/";
	char text[2 * HOP_WORD + 2];
	size_t length;

	snprintf(text, sizeof(text), "%.*s:%.*s", HOP_WORD, user, HOP_WORD,
	    password ? password : "");
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
			return hop_refuse(EPROTO);
	if (length > 12 && data[12] != ' ' && data[12] != '\r')
		return hop_refuse(EPROTO);
	if (length >= 12)
		*code = (data[9] - '0') * 100 + (data[10] - '0') * 10 +
		    data[11] - '0';
	return hop_head(data, length);
}

/* What SOCKS5 says of a method or a password: the version, then a code. */
struct verdict {
	unsigned char version;
	int code;
};

static ssize_t
parse_verdict(const unsigned char *data, size_t length, void *arg)
{
	struct verdict *verdict = arg;

	if (data[0] != verdict->version)
		return hop_refuse(EPROTO);
	if (length < 2)
		return 0;
	verdict->code = data[1];
	return 2;
}

/* Behind a refusal nothing counts, and often nothing comes. */
static ssize_t
parse_socks(const unsigned char *data, size_t length, void *arg)
{
	struct verdict *verdict = arg;
	ssize_t used = parse_verdict(data, length, arg);

	if (used != 2 || verdict->code != 0)
		return used;
	if (length > 2 && data[2] != 0)
		return hop_refuse(EPROTO);
	used = hop_socks_length(data + 3, length > 3 ? length - 3 : 0);
	if (used <= 0 || (size_t)used + 3 > length)
		return used < 0 ? -1 : 0;
	return used + 3;
}

ssize_t
hop_socks_length(const unsigned char *data, size_t length)
{
	if (length == 0)
		return 0;
	if (data[0] == HOP_INET || data[0] == HOP_INET6)
		return data[0] == HOP_INET ? 1 + 4 + 2 : 1 + 16 + 2;
	if (data[0] != HOP_NAME)
		return hop_refuse(EAFNOSUPPORT);
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
put_word(unsigned char *at, const char *word)
{
	size_t length = strnlen(word, HOP_WORD);

	*at++ = (unsigned char)length;
	memcpy(at, word, length);
	return at + length;
}

/* Returns the end of the address, in the form that SOCKS5 gives it. */
static unsigned char *
put_target(unsigned char *at, const struct side *to, uint16_t port)
{
	const uint32_t loopback = htonl(INADDR_LOOPBACK);
	bool six = to->kind == SIDE_INET6;

	if (to->kind == SIDE_HOST) {
		*at++ = HOP_NAME;
		at = put_word(at, to->text);
	} else {
		*at++ = six ? HOP_INET6 : HOP_INET;
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
say_http(const struct line *line, const struct hop *hop, const struct side *to,
    uint16_t port, int *code)
{
	char basic[HOP_BASIC], name[HOP_NAME_MAX], text[2048];
	unsigned char head[HOP_HEAD];

	put_target(head, to, port);
	hop_socks_text(name, head);
	if (hop->user)
		hop_basic(basic, hop->user, hop->password);
	snprintf(text, sizeof(text),
	    "CONNECT %s HTTP/1.1\r\nHost: %s\r\n%s%s%s\r\n", name, name,
	    hop->user ? "Proxy-Authorization: Basic " : "",
	    hop->user ? basic : "", hop->user ? "\r\n" : "");
	if (hop_write(line, text, strlen(text)) == -1)
		return -1;
	for (int i = 0; i < INTERIM_MAX; i++) {
		if (hop_read(line, head, sizeof(head), parse_http, code) == -1)
			return -1;
		if (*code / 100 == 2)
			return *code = 0;
		if (*code / 100 != 1)
			return hop_refuse(http_error(*code));
	}
	return hop_refuse(EPROTO);
}

/* User and password, RFC 1929. */
static int
say_password(const struct line *line, const struct hop *hop)
{
	struct verdict verdict = {.version = 1};
	unsigned char data[2 * HOP_WORD + 3] = {1}, *at;

	at = put_word(data + 1, hop->user);
	at = put_word(at, hop->password ? hop->password : "");
	if (hop_write(line, data, (size_t)(at - data)) == -1 ||
	    hop_read(line, data, sizeof(data), parse_verdict, &verdict) == -1)
		return -1;
	return verdict.code ? hop_refuse(EACCES) : 0;
}

/* Where to, RFC 1928. */
static int
say_target(const struct line *line, const struct side *to, uint16_t port,
    int *code)
{
	struct verdict verdict = {.version = 5};
	unsigned char data[3 + 2 + HOP_WORD + 2] = {5, 1, 0}, *end;

	end = put_target(data + 3, to, port);
	if (hop_write(line, data, (size_t)(end - data)) == -1 ||
	    hop_read(line, data, sizeof(data), parse_socks, &verdict) == -1)
		return -1;
	*code = verdict.code;
	return verdict.code ? hop_refuse(socks_error(verdict.code)) : 0;
}

static int
say_socks(const struct line *line, const struct hop *hop, const struct side *to,
    uint16_t port, int *code)
{
	struct verdict verdict = {.version = 5};
	unsigned char data[] = {5, 1, 0, 2};

	data[1] = hop->user ? 2 : 1;
	if (hop_write(line, data, 2 + (size_t)data[1]) == -1 ||
	    hop_read(line, data, sizeof(data), parse_verdict, &verdict) == -1)
		return -1;
	if (verdict.code == 2 && hop->user) {
		if (say_password(line, hop) == -1)
			return -1;
	} else if (verdict.code) {
		return hop_refuse(verdict.code == 255 ? EACCES : EPROTO);
	}
	return say_target(line, to, port, code);
}

int
hop_through(const struct line *line, const struct hop *hop,
    const struct side *to, unsigned index, int *code)
{
	uint16_t port = (uint16_t)(to->lo + index);

	*code = 0;
	return hop->kind == HOP_HTTP ? say_http(line, hop, to, port, code)
				     : say_socks(line, hop, to, port, code);
}

int
hop_socks_text(char *text, const unsigned char *at)
{
	char host[HOP_WORD + 1];
	size_t length = at[0] == HOP_INET ? 4 : 16;
	const unsigned char *port = at + 1 + length;

	if (at[0] == HOP_NAME) {
		length = at[1];
		port = at + 2 + length;
		memcpy(host, at + 2, length);
		host[length] = '\0';
		if (strlen(host) != length)
			return hop_refuse(EINVAL);
	} else {
		inet_ntop(length == 4 ? AF_INET : AF_INET6, at + 1, host,
		    sizeof(host));
	}
	snprintf(text, HOP_NAME_MAX, strchr(host, ':') ? "[%s]:%u" : "%s:%u",
	    host, (unsigned)(port[0] << 8 | port[1]));
	return 0;
}

int
hop_asked(struct side *side, const char *text)
{
	static const char usual[] = "abcdefghijklmnopqrstuvwxyz0123456789"
				    "ABCDEFGHIJKLMNOPQRSTUVWXYZ-._:[]";
	char word[HOP_NAME_MAX];
	const char *part;

	side_free(side);
	*side = (struct side){0};
	if (strlen(text) >= sizeof(word) || text[strspn(text, usual)])
		return hop_refuse(EINVAL);
	memcpy(word, text, strlen(text) + 1);
	if (side_parse(side, word, 1, &part) ||
	    (side->kind != SIDE_INET && side->kind != SIDE_INET6 &&
		side->kind != SIDE_HOST))
		return hop_refuse(EINVAL);
	return 0;
}
