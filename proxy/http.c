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

/* Returns the line behind a line that ends in "\0\n". */
static const char *
next_line(const char *line)
{
	return line + strlen(line) + 2;
}

/* Returns the value of a header line if the header has that name, else NULL. */
static const char *
header_value(const char *line, const char *name)
{
	size_t length = strlen(name);

	if (strncasecmp(line, name, length) != 0 || line[length] != ':')
		return NULL;
	return line + length + 1 + strspn(line + length + 1, " \t");
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
	return line[strspn(line, LETTERS "-")] ? fail_errno(EINVAL) : 0;
}

int
http_parse_request(struct http_request *r, char *head)
{
	size_t n;

	for (char *end = head; (end = strstr(end, "\r\n")); end += 2)
		*end = '\0';
	r->headers = next_line(head);
	if (parse_request_line(r, head) == -1)
		return -1;
	for (const char *line = r->headers; *line; line = next_line(line)) {
		n = strcspn(line, ": \t");
		if (n == 0 || line[n] != ':')
			return fail_errno(EINVAL);
	}
	return 0;
}

bool
http_is_authorized(const struct http_request *r, const char *user,
    const char *password)
{
	char expected[BASIC_AUTH_MAX];
	const char *value;

	basic_auth_encode(expected, user, password);
	for (const char *line = r->headers; *line; line = next_line(line)) {
		value = header_value(line, "Proxy-Authorization");
		if (value && strncasecmp(value, "Basic ", 6) == 0)
			return equal_constant_time(value + 6, strlen(value + 6),
			    expected);
	}
	return false;
}

/* Returns true if a list of header names, comma-separated, has that name. */
static bool
list_has_name(const char *list, const char *name, size_t length)
{
	while (*list) {
		list += strspn(list, ", \t");
		if (strcspn(list, ", \t") == length &&
		    strncasecmp(list, name, length) == 0)
			return true;
		list += strcspn(list, ", \t");
	}
	return false;
}

/*
 * Returns true if a header is not for the target: it is hop-by-hop or named by
 * Connection. Headers that frame the body always are for the target.
 */
static bool
is_hop_by_hop(const struct http_request *r, const char *header)
{
	static const char *const names[] = {"Connection", "Host", "Keep-Alive",
	    "Proxy-Authenticate", "Proxy-Authorization", "Proxy-Connection",
	    "TE", "Trailer", "Upgrade"};
	size_t length = strcspn(header, ":");

	for (size_t i = 0; i < ARRAY_LEN(names); i++)
		if (header_value(header, names[i]))
			return true;
	if (header_value(header, "Transfer-Encoding") ||
	    header_value(header, "Content-Length"))
		return false;
	for (const char *line = r->headers; *line; line = next_line(line)) {
		const char *list = header_value(line, "Connection");

		if (list && list_has_name(list, header, length))
			return true;
	}
	return false;
}

/*
 * Copies the host of "http://HOST[:PORT][/PATH]", at most HOSTPORT_MAX bytes
 * with room for ":80". Returns the path, or NULL for another URL.
 */
static const char *
split_request_url(const char *url, char *host)
{
	size_t length;

	if (strncasecmp(url, "http://", 7) != 0)
		return NULL;
	url += 7;
	length = strcspn(url, "/?#");
	if (length + sizeof(":80") > HOSTPORT_MAX)
		return NULL;
	memcpy(host, url, length);
	host[length] = '\0';
	return url + length;
}

int
http_rewrite_request(const struct http_request *r, char *out, size_t size,
    char *target)
{
	const char *path = split_request_url(r->url, target), *colon;
	size_t used;

	if (!path)
		return fail_errno(EINVAL);
	used = (size_t)snprintf(out, size,
	    "%s %s%s %s\r\nHost: %s\r\nConnection: close\r\n", r->method,
	    *path == '/' ? "" : "/", path, r->version, target);
	colon = strrchr(target, ':');
	if (!colon || strchr(colon, ']'))
		memcpy(target + strlen(target), ":80", sizeof(":80"));
	for (const char *line = r->headers; *line; line = next_line(line))
		if (!is_hop_by_hop(r, line) && used < size)
			used += (size_t)snprintf(out + used, size - used,
			    "%s\r\n", line);
	if (used + 2 >= size)
		return fail_errno(EMSGSIZE);
	memcpy(out + used, "\r\n", 3);
	return 0;
}
