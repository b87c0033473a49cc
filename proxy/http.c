/* Parses and rewrites the heads of HTTP/1 messages. */

#include <errno.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>
#include <sys/types.h>

#include "base/array.h"
#include "base/io.h"
#include "base/report.h"
#include "proxy/auth.h"
#include "proxy/http.h"

#define LETTERS "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"

bool
http_is_token_char(int c)
{
	return c && strchr(LETTERS "0123456789!#$%&'*+-.^_`|~", c);
}

static bool
is_head_char(unsigned char c, unsigned char before)
{
	if (before == '\r')
		return c == '\n';
	return (c >= ' ' && c != 127) || c == '\r' || c == '\n' || c == '\t';
}

ssize_t
http_head_length(const unsigned char *data, size_t length)
{
	bool empty = true, started = false;
	size_t lines = 0;

	for (size_t i = 0; i < length; i++) {
		unsigned char c = data[i];

		if (c == '\n' && ++lines > HTTP_LINES_MAX)
			return fail_errno(EMSGSIZE);
		if (!is_head_char(c, i ? data[i - 1] : 0))
			return fail_errno(EPROTO);
		if (c == '\n' && empty && started)
			return (ssize_t)i + 1;
		if (c != '\r')
			empty = c == '\n';
		started |= !empty;
	}
	return 0;
}

void
http_split_lines(char *head, size_t length, bool unfold)
{
	char *to = head;

	for (size_t i = 0; i < length; i++) {
		bool folded = unfold && i + 1 < length &&
		    (head[i + 1] == ' ' || head[i + 1] == '\t');

		if (head[i] == '\r' || (head[i] == '\n' && to == head))
			continue;
		if (head[i] != '\n')
			*to++ = head[i];
		else
			*to++ = folded ? ' ' : '\0';
	}
}

const char *
http_next_line(const char *line)
{
	return line + strlen(line) + 1;
}

const char *
http_header_value(const char *line, const char *name)
{
	size_t length = strlen(name);

	if (strncasecmp(line, name, length) != 0 || line[length] != ':')
		return NULL;
	return line + length + 1 + strspn(line + length + 1, " \t");
}

/* Returns true if a list with commas has the item. */
static bool
list_has_item(const char *list, const char *item, size_t length)
{
	while (*list) {
		list += strspn(list, ", \t");
		if (strcspn(list, ", \t") == length &&
		    strncasecmp(list, item, length) == 0)
			return true;
		list += strcspn(list, ", \t");
	}
	return false;
}

bool
http_list_has(const char *headers, const char *name, const char *item,
    size_t length)
{
	for (const char *l = headers; *l; l = http_next_line(l)) {
		const char *list = http_header_value(l, name);

		if (list && list_has_item(list, item, length))
			return true;
	}
	return false;
}

/* Splits "METHOD URL VERSION" in place. Returns -1 with EINVAL. */
static int
parse_request_line(struct http_request *r, char *line)
{
	char *url = strchr(line, ' ');
	char *version = url ? strchr(url + 1, ' ') : NULL;

	if (!version ||
	    (strcmp(version, " HTTP/1.1") != 0 &&
		strcmp(version, " HTTP/1.0") != 0))
		return fail_errno(EINVAL);
	*url++ = *version++ = '\0';
	r->method = line;
	r->url = url;
	r->version = version;
	while (http_is_token_char(*line))
		line++;
	return *line ? fail_errno(EINVAL) : 0;
}

/* Returns -1 with EINVAL if a line is no header. */
static int
check_header_lines(const char *headers)
{
	for (const char *l = headers; *l; l = http_next_line(l)) {
		size_t n = strcspn(l, ": \t");

		if (n == 0 || l[n] != ':')
			return fail_errno(EINVAL);
	}
	return 0;
}

/* Returns true for HTTP/1.1, false for HTTP/1.0; or as a header says. */
static bool
wants_keep_alive(const struct http_request *r)
{
	static const char close[] = "close", keep[] = "keep-alive";
	static const char *const names[] = {"Connection", "Proxy-Connection"};
	bool kept = !r->is_http10;

	for (size_t i = 0; i < ARRAY_LEN(names); i++)
		if (http_list_has(r->headers, names[i], keep, sizeof(keep) - 1))
			kept = true;
	for (size_t i = 0; i < ARRAY_LEN(names); i++)
		if (http_list_has(r->headers, names[i], close,
			sizeof(close) - 1))
			kept = false;
	return kept;
}

/*
 * Returns the protocol that a client asks the target to switch to, or NULL.
 * Returns NULL for HTTP/2, because a client offers h2c to the proxy only.
 */
static const char *
requested_upgrade(const struct http_request *r)
{
	static const char upgrade[] = "upgrade";
	const char *value;

	if (!http_list_has(r->headers, upgrade, "h2c", 3) &&
	    http_list_has(r->headers, "Connection", upgrade,
		sizeof(upgrade) - 1))
		for (const char *l = r->headers; *l; l = http_next_line(l))
			if ((value = http_header_value(l, upgrade)))
				return value;
	return NULL;
}

int
http_parse_request(struct http_request *r, char *head, size_t length)
{
	http_split_lines(head, length, false);
	r->headers = http_next_line(head);
	if (parse_request_line(r, head) == -1 ||
	    check_header_lines(r->headers) == -1)
		return -1;
	r->body = (struct http_body){.strict = true, .done = true};
	if (body_parse_headers(&r->body, r->headers) == -1)
		return -1;
	r->is_head = strcmp(r->method, "HEAD") == 0;
	r->is_http10 = strcmp(r->version, "HTTP/1.0") == 0;
	if (r->body.kind == BODY_CHUNKED && r->is_http10)
		return fail_errno(EINVAL);
	r->keep_alive = wants_keep_alive(r);
	r->upgrade = requested_upgrade(r);
	return 0;
}

/* Returns the credentials behind "Basic ", or NULL for another scheme. */
static const char *
basic_credentials(const char *value, size_t *length)
{
	if (strncasecmp(value, "Basic", 5) != 0 || !strchr(" \t", value[5]))
		return NULL;
	value += 5 + strspn(value + 5, " \t");
	*length = strcspn(value, " \t");
	return value;
}

bool
http_is_authorized(const struct http_request *r, const char *user,
    const char *password)
{
	char expected[BASIC_AUTH_MAX];
	const char *value;
	size_t length;

	basic_auth_encode(expected, user, password);
	for (const char *l = r->headers; *l; l = http_next_line(l)) {
		value = http_header_value(l, "Proxy-Authorization");
		if (value && (value = basic_credentials(value, &length)))
			return equal_constant_time(value, length, expected);
	}
	return false;
}

/*
 * Returns true if a header is not for the next receiver: it is hop-by-hop or
 * named by Connection. Headers that frame the body always are for it.
 */
bool
http_is_hop_by_hop(const char *headers, const char *header)
{
	static const char *const names[] = {"Connection", "Keep-Alive",
	    "Proxy-Authorization", "Proxy-Connection", "TE", "Upgrade"};

	for (size_t i = 0; i < ARRAY_LEN(names); i++)
		if (http_header_value(header, names[i]))
			return true;
	if (http_header_value(header, "Transfer-Encoding") ||
	    http_header_value(header, "Content-Length"))
		return false;
	return http_list_has(headers, "Connection", header,
	    strcspn(header, ":"));
}

/*
 * Copies HOST[:PORT] of "http://[USER@]HOST[:PORT][/PATH]", at most
 * HOSTPORT_MAX bytes with room for ":80". Returns the path, or NULL for another
 * URL.
 */
static const char *
split_request_url(const char *url, char *host)
{
	const char *end, *at;
	size_t length;

	if (strncasecmp(url, "http://", 7) != 0)
		return NULL;
	url += 7;
	end = url + strcspn(url, "/?#");
	at = memrchr(url, '@', (size_t)(end - url));
	if (at)
		url = at + 1;
	length = (size_t)(end - url);
	if (length && url[length - 1] == ':')
		length--;
	if (length + sizeof(":80") > HOSTPORT_MAX)
		return NULL;
	memcpy(host, url, length);
	host[length] = '\0';
	return end;
}

int
http_rewrite_request(const struct http_request *r, char *out, size_t size,
    char *target)
{
	const char *path = split_request_url(r->url, target), *colon, *root;
	size_t used;

	if (!path)
		return fail_errno(EINVAL);
	root = *path == '/'                              ? ""
	    : *path || strcmp(r->method, "OPTIONS") != 0 ? "/"
							 : "*";
	used = (size_t)snprintf(out, size,
	    "%s %s%s %s\r\nHost: %s\r\nConnection: %s\r\n%s%s%s", r->method,
	    root, path, r->version, target, r->upgrade ? "Upgrade" : "close",
	    r->upgrade ? "Upgrade: " : "", r->upgrade ? r->upgrade : "",
	    r->upgrade ? "\r\n" : "");
	colon = strrchr(target, ':');
	if (!colon || strchr(colon, ']'))
		memcpy(target + strlen(target), ":80", sizeof(":80"));
	for (const char *l = r->headers; *l; l = http_next_line(l))
		if (!http_is_hop_by_hop(r->headers, l) &&
		    !http_header_value(l, "Host") && used < size)
			used += (size_t)snprintf(out + used, size - used,
			    "%s\r\n", l);
	if (used + 2 >= size)
		return fail_errno(EMSGSIZE);
	memcpy(out + used, "\r\n", 3);
	return 0;
}
