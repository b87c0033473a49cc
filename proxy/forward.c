/* Forwards a plain HTTP request to its target, and the response. */

/*
 * Theory of operation
 *
 * A client may send the requests for several hosts on one connection to a
 * proxy. Each request has its own connection to its target, and asks the target
 * to close the connection, so that no target gets a request for another target.
 * This file finds the ends of both bodies. Bytes behind the request stay in the
 * client's socket.
 *
 * Both bodies move at the same time. A body is peeked at, sent as far as the
 * receiver takes it, and only then received, so that there is no buffer to keep
 * and a full receiver stops its sender.
 *
 * When a write to the target fails, the target may have sent a response before.
 * So only the response is read from then on. When the client resets, both
 * connections end, after the target has acknowledged the bytes sent before.
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
#include "proxy/body.h"
#include "proxy/forward.h"
#include "proxy/http.h"
#include "proxy/response.h"
#include "proxy/server.h"

/* The state of moving one body from socket to socket. */
struct transfer {
	int from, to;
	struct http_body *body;
	bool ended; /* the sender has ended its stream, perhaps too early */
	bool full;  /* the receiver takes no byte at the moment */
	uint64_t *count;
};

struct forward_state {
	struct proxy_session *session;
	struct transfer up, down;
	struct http_response response;
	int target_error; /* errno of a failed write to the target; or 0 */
	bool answered;    /* the client has the final response head */
	enum forward next;
};

/* The result of a step; a failure comes with errno. */
enum step {
	STEP_DONE,
	STEP_CLIENT_FAILED,
	STEP_TARGET_FAILED
};

/*
 * Moves the bytes of a body that have arrived. Returns 0, or -1 with errno:
 * *failed is then the socket that has failed, or has sent no valid body.
 */
static int
transfer_step(struct transfer *t, unsigned char *buf, int *failed)
{
	struct http_body after = *t->body;
	ssize_t n = recv(t->from, buf, HTTP_HEAD_MAX, MSG_PEEK);

	*failed = t->from;
	t->full = false;
	t->ended = n == 0;
	if (n <= 0)
		return n == 0 || errno == EAGAIN ? 0 : -1;
	n = body_take(&after, buf, (size_t)n);
	if (n == -1)
		return -1;
	n = send(t->to, buf, (size_t)n, MSG_NOSIGNAL);
	if (n == -1) {
		*failed = t->to;
		t->full = errno == EAGAIN;
		return t->full ? 0 : -1;
	}
	*t->count += (uint64_t)n;
	body_take(t->body, buf, (size_t)n);
	/* With MSG_TRUNC, TCP discards the bytes without a second copy. */
	return recv(t->from, buf, (size_t)n, MSG_TRUNC) == n ? 0 : -1;
}

/*
 * Returns what follows a final response. A target that answers in front of the
 * end of the request body may not read the rest.
 */
static enum forward
what_follows(const struct forward_state *f)
{
	const struct http_request *request = &f->session->request;

	if (f->response.status == 101)
		return FORWARD_TUNNEL;
	return request->keep_alive && request->body.done &&
		f->response.body.kind != BODY_TO_END
	    ? FORWARD_NEXT
	    : FORWARD_CLOSE;
}

/* Returns -1 with errno, EIO if the target has not answered in HTTP. */
static int
read_response_head(struct forward_state *f)
{
	struct proxy_session *s = f->session;
	const struct io target = {f->down.from, f->down.to,
	    deadline_after(now_ms(), s->map->times.connect)};
	ssize_t n = io_read_message(&target, s->in_buf, HTTP_HEAD_MAX,
	    http_response_length, NULL);

	if (n == -1)
		return errno == EMSGSIZE ? fail_errno(EIO) : -1;
	if (http_parse_response(&f->response, (char *)s->in_buf, (size_t)n,
		!s->request.is_head) == -1)
		return -1;
	return f->response.status == 101 && !s->request.upgrade
	    ? fail_errno(EIO)
	    : 0;
}

/* Forwards the head of a response, which is an interim or the final one. */
static enum step
forward_response_head(struct forward_state *f)
{
	static const char *const connection[] = {
	    [FORWARD_NEXT] = "keep-alive",
	    [FORWARD_CLOSE] = "close",
	    [FORWARD_TUNNEL] = "Upgrade",
	};
	struct proxy_session *s = f->session;
	const struct io client = {f->down.to, -1,
	    deadline_after(now_ms(), s->map->times.connect)};
	size_t length;
	bool final;

	if (read_response_head(f) == -1)
		return errno == ECONNABORTED ? STEP_CLIENT_FAILED
					     : STEP_TARGET_FAILED;
	f->next = what_follows(f);
	final = f->response.status >= 200 || f->next == FORWARD_TUNNEL;
	if (!final && s->request.is_http10)
		return STEP_DONE;
	length = http_rewrite_response(&f->response, s->out, sizeof(s->out),
	    final ? connection[f->next] : NULL);
	if (!length) {
		errno = EIO;
		return STEP_TARGET_FAILED;
	}
	f->answered = final;
	s->kind = REQUEST_NONE;
	*f->down.count += length;
	return io_write_all(&client, s->out, length) == 0 ? STEP_DONE
							  : STEP_CLIENT_FAILED;
}

/*
 * Forwards a part of the response. If the target's stream ends before the body
 * does, the client's stream ends there, too.
 */
static enum step
step_down(struct forward_state *f)
{
	int failed;

	if (!f->answered)
		return forward_response_head(f);
	if (transfer_step(&f->down, f->session->in_buf, &failed) == -1)
		return failed == f->down.to ? STEP_CLIENT_FAILED
					    : STEP_TARGET_FAILED;
	if (f->down.ended) {
		f->next = FORWARD_CLOSE;
		f->response.body.done = true;
	}
	return STEP_DONE;
}

/*
 * Forwards a part of the request body. A target that refuses the bytes has not
 * failed, because it may have sent a response.
 */
static enum step
step_up(struct forward_state *f)
{
	int failed;

	if (transfer_step(&f->up, f->session->in_buf, &failed) == -1) {
		if (failed == f->up.from)
			return STEP_CLIENT_FAILED;
		f->target_error = errno;
	} else if (f->up.ended) {
		shutdown(f->up.to, SHUT_WR);
	}
	return STEP_DONE;
}

/* Returns true if the request body is to be read. */
static bool
has_more_up(const struct forward_state *f)
{
	return !f->up.body->done && !f->up.ended && !f->target_error;
}

/*
 * Waits until a body can move or the client has reset. Returns -1 with errno.
 */
static int
wait_for_step(const struct forward_state *f, bool *up, bool *down)
{
	bool up_full = f->up.full && has_more_up(f), down_full = f->down.full;
	msec idle = f->session->map->times.idle;
	struct pollfd client = {f->up.from, 0, 0}, target = {f->up.to, 0, 0};
	struct pollfd watched[2];

	if (has_more_up(f) && !up_full)
		client.events |= POLLIN;
	if (down_full)
		client.events |= POLLOUT;
	else
		target.events |= POLLIN;
	if (up_full)
		target.events |= POLLOUT;
	if (!client.events)
		client.events = POLLERR | POLLHUP;
	watched[0] = client;
	watched[1] = target;
	if (io_wait(watched, 2, deadline_after(now_ms(), idle)) == -1)
		return -1;
	if (client.events == (POLLERR | POLLHUP) && watched[0].revents)
		return fail_errno(ECONNABORTED);
	*down = down_full ? watched[0].revents : watched[1].revents & ~POLLOUT;
	*up = up_full ? watched[1].revents : watched[0].revents;
	return 0;
}

/* Forwards until the response has ended or a step fails. */
static enum step
forward_messages(struct forward_state *f)
{
	enum step result = STEP_DONE;
	bool up = false, down = false;

	while (result == STEP_DONE && !(f->answered && f->response.body.done)) {
		if (wait_for_step(f, &up, &down) == -1)
			return errno == ECONNABORTED ? STEP_CLIENT_FAILED
						     : STEP_TARGET_FAILED;
		if (down)
			result = step_down(f);
		if (result == STEP_DONE && up && has_more_up(f))
			result = step_up(f);
	}
	return result;
}

/*
 * Sends the request head. A target that refuses the bytes, or has reset
 * already, has not failed, because it may have sent a response.
 */
static enum step
forward_request_head(struct forward_state *f)
{
	const char *head = f->session->out;
	const struct io io = {f->up.to, f->up.from,
	    f->session->client.deadline};

	if (f->target_error)
		return STEP_DONE;
	if (io_write_all(&io, head, strlen(head)) == 0)
		*f->up.count += strlen(head);
	else if (errno == ECONNABORTED)
		return STEP_CLIENT_FAILED;
	else if (errno == ETIMEDOUT)
		return STEP_TARGET_FAILED;
	else
		f->target_error = errno;
	return STEP_DONE;
}

/*
 * Sets report->end after a step that has failed with errno. Sets errno for the
 * caller, which sends an error to a client whose body is malformed (EPROTO).
 */
static enum forward
forward_failed(struct forward_state *f, struct conn_report *report,
    enum step failed)
{
	int error = errno;

	if (failed == STEP_CLIENT_FAILED && error == EPROTO) {
		report->end = END_HANDSHAKE;
	} else if (failed == STEP_CLIENT_FAILED) {
		io_wait_acked(f->up.to);
		report->end = END_CLIENT;
		error = ECONNRESET;
	} else {
		if (f->answered)
			io_wait_acked(f->down.to);
		report->end = error == ETIMEDOUT ? END_IDLE : END_TARGET;
	}
	return fail_errno(error);
}

enum forward
proxy_forward(struct proxy_session *s, int target, struct conn_report *report,
    int *target_error)
{
	int client = s->client.fd;
	struct forward_state f = {
	    .session = s,
	    .up = {client, target, &s->request.body, .count = &report->up},
	    .down = {target, client, .count = &report->down},
	    .target_error = *target_error,
	};
	enum step result;

	f.down.body = &f.response.body;
	result = forward_request_head(&f);
	if (result == STEP_DONE)
		result = forward_messages(&f);
	if (result != STEP_DONE)
		return forward_failed(&f, report, result);
	*target_error = f.target_error;
	return f.next;
}
