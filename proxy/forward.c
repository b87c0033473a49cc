/*
 * Forwards a plain HTTP request to its target, up to the response's status
 * line.
 */

/*
 * Theory of operation
 *
 * A client may send the requests for several hosts on one connection to a
 * proxy, but the connection to the target is for one host. A target that keeps
 * the connection open would get, and could answer, requests for other hosts. So
 * the request head to the target has "Connection: close" (see http.c), and so
 * has the response head to the client, because some targets ignore theirs.
 *
 * The request body is forwarded here until the status line of the response has
 * been forwarded; then relay() moves all bytes. When a write to the target
 * fails, the target may have sent a response before: the body is no longer
 * read, and the error is kept for relay(). When the client resets, nobody reads
 * the response, and relay() delivers to the target what the client has sent
 * before.
 */

#include <errno.h>
#include <poll.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/types.h>

#include "base/clock.h"
#include "base/io.h"
#include "base/report.h"
#include "config/map.h"
#include "proxy/forward.h"
#include "proxy/http.h"
#include "proxy/server.h"

struct forward {
	struct proxy_session *session;
	int client, target;
	struct conn_report *report;
	int target_error; /* errno of a failed write to `target`; or 0 */
	bool target_full; /* the target takes no byte at the moment */
};

/*
 * Parses a status line; for an interim response (1xx) sets *interim and parses
 * the whole head.
 */
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

/*
 * Forwards an interim response, or a final status line with a header. Returns 1
 * after the final one or at the end of the stream, 0 if more is to come, or -1
 * with errno, which is ECONNABORTED if the client takes no bytes.
 */
static int
forward_status(struct forward *f)
{
	static const char header[] = "Connection: close\r\n";
	struct proxy_session *s = f->session;
	const struct io target = {f->target, f->client,
	    deadline_after(now_ms(), s->map->times.connect)};
	ssize_t n = recv(f->target, s->in_buf, 1, MSG_PEEK);
	bool interim = false;

	if (n <= 0)
		return n == 0 ? 1 : errno == EAGAIN ? 0 : -1;
	n = io_read_message(&target, s->in_buf, HTTP_HEAD_MAX,
	    parse_status_line, &interim);
	if (n == -1)
		return errno == EMSGSIZE ? fail_errno(EIO) : -1;
	s->in_buf[7] = '1'; /* HTTP/1.1: keep-alive differs in HTTP/1.0 */
	f->report->down += (uint64_t)n;
	if (io_write_all(&s->client, s->in_buf, (size_t)n) == -1 ||
	    (!interim &&
		io_write_all(&s->client, header, sizeof(header) - 1) == -1))
		return fail_errno(ECONNABORTED);
	return !interim;
}

/*
 * Forwards the bytes of the request body that have arrived. Returns 1 at the
 * end of the body, 0 if more may come, or -1 with errno. Bytes are received
 * from the client only when the target has taken them, so that relay() gets the
 * rest.
 */
static int
forward_body(struct forward *f)
{
	char *buf = f->session->request;
	ssize_t n = recv(f->client, buf, sizeof(f->session->request), MSG_PEEK);

	f->target_full = false;
	if (n <= 0)
		return n == 0         ? 1
		    : errno == EAGAIN ? 0
				      : fail_errno(ECONNABORTED);
	n = send(f->target, buf, (size_t)n, MSG_NOSIGNAL);
	if (n == -1 && errno == EAGAIN)
		f->target_full = true;
	else if (n == -1)
		f->target_error = errno;
	if (n == -1)
		return 0;
	f->report->up += (uint64_t)n;
	return recv(f->client, buf, (size_t)n, 0) == n ? 0 : -1;
}

/* Waits until client or target are ready. Returns -1 with errno. */
static int
wait_for_both(const struct forward *f, struct pollfd watched[2])
{
	bool blocked = f->target_full || f->target_error;
	msec idle = f->session->map->times.idle;

	watched[0] =
	    (struct pollfd){f->client, blocked ? POLLERR | POLLHUP : POLLIN, 0};
	watched[1] = (struct pollfd){f->target,
	    f->target_full ? POLLIN | POLLOUT : POLLIN, 0};
	return io_wait(watched, 2, deadline_after(now_ms(), idle));
}

/* Returns 0 if relay() is to move the other bytes, or -1 with errno. */
static int
forward_until_status(struct forward *f)
{
	struct pollfd watched[2];
	int n = 0;

	while (n == 0) {
		if (wait_for_both(f, watched) == -1)
			return -1;
		if (watched[0].revents & (POLLERR | POLLHUP))
			return 0;
		if (watched[1].revents & ~POLLOUT)
			n = forward_status(f);
		if (n == 0 && !f->target_error &&
		    (watched[0].revents || watched[1].revents & POLLOUT))
			n = forward_body(f);
	}
	return n == 1 ? 0 : -1;
}

/*
 * Sends the request head. Returns -1 with errno; but 0 if the target refuses
 * the bytes, or has reset already, because it may have sent a response.
 */
static int
forward_head(struct forward *f)
{
	const char *head = f->session->request;
	const struct io io = {f->target, f->client,
	    f->session->client.deadline};

	if (f->target_error)
		return 0;
	if (io_write_all(&io, head, strlen(head)) == 0) {
		f->report->up += strlen(head);
		return 0;
	}
	if (errno == ETIMEDOUT || errno == ECONNABORTED)
		return -1;
	f->target_error = errno;
	return 0;
}

int
proxy_forward(struct proxy_session *s, int target, struct conn_report *report,
    int *target_error)
{
	struct forward f = {
	    .session = s,
	    .client = s->client.fd,
	    .target = target,
	    .report = report,
	    .target_error = *target_error,
	};

	if (forward_head(&f) == 0 && forward_until_status(&f) == 0) {
		*target_error = f.target_error;
		return 0;
	}
	report->end = errno == ETIMEDOUT ? END_IDLE : END_TARGET;
	if (errno == ECONNABORTED) {
		io_wait_acked(target);
		errno = ECONNABORTED;
	}
	return -1;
}
