/* Parses and rewrites the heads of HTTP/1 responses. */

#include <ctype.h>
#include <errno.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/types.h>

#include "base/io.h"
#include "proxy/body.h"
#include "proxy/http.h"
#include "proxy/response.h"

#define STATUS_SWITCHING 101

/* Compares the data with a form, in which a 'd' stands for a digit. */
static bool
has_form(const unsigned char *data, size_t length, const char *form)
{
	for (size_t i = 0; i < length && form[i]; i++)
		if (form[i] == 'd' ? !isdigit(data[i])
				   : data[i] != (unsigned char)form[i])
			return false;
	return true;
}

/* Accepts "ICY 200 OK", because streaming servers of the 1990s answer so. */
ssize_t
http_response_length(const unsigned char *data, size_t length, void *arg)
{
	ssize_t n = http_head_length(data, length);

	(void)arg;
	if (n == -1 ||
	    (!has_form(data, length, "HTTP/1.d ddd") &&
		!has_form(data, length, "ICY ddd")))
		return fail_errno(EIO);
	return n;
}

static bool
status_has_body(int status)
{
	return status >= 200 && status != 204 && status != 304;
}

int
http_parse_response(struct http_response *r, char *head, size_t length,
    bool has_body)
{
	const char *code = head + strcspn(head, " ") + 1;

	http_split_lines(head, length, true);
	r->status =
	    (code[0] - '0') * 100 + (code[1] - '0') * 10 + code[2] - '0';
	r->status_line = head;
	r->headers = http_next_line(head);
	r->body = (struct http_body){.kind = BODY_TO_END};
	if (body_parse_headers(&r->body, r->headers) == -1)
		return fail_errno(EIO);
	if (!has_body || !status_has_body(r->status))
		r->body = (struct http_body){.done = true};
	return 0;
}

/* Returns true if a header is to be forwarded to the client. */
static bool
is_for_client(const struct http_response *r, const char *header)
{
	size_t name = strcspn(header, ": \t");

	if (!name || header[name] != ':')
		return false;
	if (r->status == STATUS_SWITCHING &&
	    http_header_value(header, "Upgrade"))
		return true;
	if (r->body.kind == BODY_CHUNKED &&
	    http_header_value(header, "Content-Length"))
		return false;
	return !http_is_hop_by_hop(r->headers, header);
}

size_t
http_rewrite_response(const struct http_response *r, char *out, size_t size,
    const char *connection)
{
	static const char version[] = "HTTP/1.1";
	const char *rest = r->status_line;
	size_t used;

	/* HTTP/1.0 becomes HTTP/1.1, because their keep-alive differs. */
	if (*rest == 'H')
		rest += sizeof(version) - 1;
	used = (size_t)snprintf(out, size, "%s%s\r\n%s%s%s",
	    rest == r->status_line ? "" : version, rest,
	    connection ? "Connection: " : "", connection ? connection : "",
	    connection ? "\r\n" : "");
	for (const char *l = r->headers; *l; l = http_next_line(l))
		if (is_for_client(r, l) && used < size)
			used += (size_t)snprintf(out + used, size - used,
			    "%s\r\n", l);
	if (used + 2 >= size)
		return 0;
	memcpy(out + used, "\r\n", 3);
	return used + 2;
}
