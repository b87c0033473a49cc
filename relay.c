/* Moves bytes between two stream sockets, in both directions. */

/*
 * Theory of operation
 *
 * Events. Both sockets are registered once, edge-triggered. relay_event() turns
 * an event into two flags of a direction: "readable" is true until a read
 * returns EAGAIN, "writable" until a write does. relay_step() then pumps both
 * directions in turn until neither moves, because a past edge does not come
 * again. A short read leaves "readable" true, because a FIN may be there. It
 * clears the flag only on a TCP socket for which no event has reported an end,
 * an error or urgent data: there the next bytes raise an edge.
 *
 * Reading. A direction reads only while it has nothing pending, or EAGAIN of a
 * splice(2) could mean that all slots of the pipe are taken.
 *
 * Splicing. A direction copies, which is cheapest for small messages, until a
 * read of SPLICE_MIN bytes opens a pipe; then it splices. As splice(2) never
 * passes an urgent byte, a recv(2) follows when that returns 0 or EAGAIN.
 *
 * End of stream. A recv(2) that returns 0 is the end, unless the socket has
 * failed. The direction passes the end on by shutdown(2), with nothing pending.
 *
 * Errors. An error is passed on as a reset. Both sockets have SO_LINGER {1, 0}
 * all the time, so that both peers see a reset however this process ends.
 * relay_finish() clears the option when both directions have passed on an end.
 *
 * A socket has failed when it has reported EPOLLERR, or when a read, a write or
 * a shutdown has returned an error. Nothing more is written to it. The
 * direction that reads from it goes on until the end or the error, because the
 * kernel keeps the bytes that arrived before a reset. An error is returned
 * once; "consumed_error" keeps it, so that a read of 0 is not taken for an end.
 * EPIPE is not kept, because an end came first, or a UNIX socket was closed. A
 * splice(2) that moves a part ("cut") can hide an error. An end is then looked
 * at twice: TCP_INFO counts a FIN as a received byte.
 *
 * Draining. The bytes that arrived before an error are delivered before the
 * reset is sent: close(2) with SO_LINGER {1, 0} drops what the kernel has not
 * sent, and does not repeat a lost segment. So the relay waits until the other
 * peer has acknowledged all bytes (SIOCOUTQ), polled every IO_POLL_ACKED_MS. A
 * peer that acknowledges nothing for IO_STALL_MS is reset without the rest.
 */

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/types.h>

#include "relay.h"

#include "base/clock.h"
#include "base/io.h"
#include "base/memory.h"
#include "base/report.h"
#include "base/sock.h"
#include "base/timeouts.h"

#define SPLICE_MIN    32768 /* a read of this many bytes opens a pipe */
#define PIPE_SIZE     1048576
#define PIPE_SIZE_MIN 65536 /* copying is faster than a smaller pipe */
#define ROUNDS_MAX    8     /* of both directions in one step */
#define SPURIOUS_MAX  1000  /* wake-ups in a row that moved nothing */

/* A common symbol, so that it begins on the page that has musl's errno. */
__attribute__((common)) unsigned char relay_buffer[RELAY_COPY];
static _Alignas(4096) unsigned char spills[2][RELAY_COPY]; /* of relay() */

static bool
has_pending(const struct relay_dir *d)
{
	return d->buffered || d->in_pipe;
}

/* Returns how many bytes the relay has read from `in`. */
static int64_t
bytes_read(const struct relay_dir *d)
{
	return (int64_t)(*d->count + d->buffered + d->in_pipe);
}

/* Opens a pipe, once. A direction without a pipe goes on copying. */
static void
open_pipe(struct relay_dir *d, struct relay_dir *opposite)
{
	if (!d->pipe_tried && io_pipe(d->pipe, PIPE_SIZE, PIPE_SIZE_MIN) == 0)
		opposite->skipped = sock_skipped(d->out, bytes_read(opposite));
	d->pipe_tried = true;
}

/* Returns true if no FIN arrived behind the last byte of a closed socket. */
static bool
is_reset(const struct relay_dir *d)
{
	return sock_hung_up(d->in) &&
	    (d->skipped == -1 ||
		!sock_got_fin(d->in, d->skipped + bytes_read(d)));
}

static bool
can_read(const struct relay_dir *d)
{
	return d->readable && !d->eof && !d->done && !has_pending(d);
}

static ssize_t
splice_in(struct relay_dir *d)
{
	ssize_t n;

	do
		n = splice(d->in, NULL, d->pipe[1], NULL, PIPE_SIZE,
		    SPLICE_F_MOVE | SPLICE_F_NONBLOCK);
	while (n == -1 && errno == EINTR);
	if (n > 0)
		d->in_pipe = (size_t)n;
	else if (n == -1 && errno == EINVAL)
		io_close_pipe(d->pipe); /* `in` does not support splice(2) */
	return n;
}

static ssize_t
copy_in(struct relay_dir *d)
{
	ssize_t n;

	do
		n = recv(d->in, relay_buffer, RELAY_COPY, 0);
	while (n == -1 && errno == EINTR);
	d->data = relay_buffer;
	if (n > 0)
		d->buffered = (size_t)n;
	if (n > (ssize_t)d->copied)
		d->copied = (uint32_t)n;
	return n;
}

/* Returns as read(2) does. */
static ssize_t
splice_or_copy_in(struct relay_dir *d)
{
	ssize_t n = 0;

	if (d->pipe[0] != -1)
		n = splice_in(d);
	if (n == -1 && errno != EAGAIN && errno != EINVAL)
		d->consumed_error = errno; /* an urgent byte may be left */
	if (n <= 0)
		n = copy_in(d);
	if (n == 0 && d->consumed_error)
		return fail_errno(d->consumed_error);
	return n;
}

/* Returns 1 after bytes or the end, 0 if there is nothing, -1 with errno. */
static int
dir_read(struct relay_dir *d, struct relay_dir *opposite)
{
	ssize_t n = splice_or_copy_in(d);

	if (n == -1) {
		d->readable = false;
		return errno == EAGAIN ? 0 : -1;
	}
	if (n == 0)
		d->eof = true;
	else if (n >= SPLICE_MIN)
		open_pipe(d, opposite);
	else if (d->buffered && !d->read_to_eagain)
		d->readable = false;
	return 1;
}

/* Returns 1 after writing bytes, 0 if there was no room, or -1 with errno. */
static int
dir_write(struct relay_dir *d)
{
	ssize_t n;

	do {
		if (d->buffered)
			n = send(d->out, d->data, d->buffered, MSG_NOSIGNAL);
		else
			n = splice(d->pipe[0], NULL, d->out, NULL, d->in_pipe,
			    SPLICE_F_MOVE | SPLICE_F_NONBLOCK);
	} while (n == -1 && errno == EINTR);
	if (n == -1) {
		d->writable = false;
		d->cut = d->cut && errno != EAGAIN;
		return errno == EAGAIN ? 0 : -1;
	}
	d->cut = (size_t)n < d->in_pipe;
	if (d->buffered) {
		d->data += (size_t)n;
		d->buffered -= (size_t)n;
	} else {
		d->in_pipe -= (size_t)n;
	}
	*d->count += (uint64_t)n;
	return 1;
}

/* Marks a socket as failed. Its reader has to look for the end or the error. */
static void
mark_failed(struct relay *r, int peer)
{
	r->failed[peer] = true;
	r->dirs[peer].readable = r->dirs[peer].read_to_eagain = true;
}

/* Records an error of a peer's socket, from errno. The first one counts. */
static void
set_error(struct relay *r, int peer)
{
	mark_failed(r, peer);
	if (r->error)
		return;
	r->error = errno;
	r->error_end = peer == RELAY_CLIENT ? END_CLIENT : END_TARGET;
}

/* Records an error, from errno, that a write to a peer's socket has met. */
static void
set_write_error(struct relay *r, int peer)
{
	r->dirs[!peer].done = true;
	if (errno != EPIPE)
		r->dirs[peer].consumed_error = errno;
	set_error(r, peer);
}

/* Records an error of the relay itself, not of a socket. Returns -1. */
static int
set_local_error(struct relay *r, int error)
{
	r->error = error;
	r->error_end = END_LOCAL;
	return -1;
}

/* Passes the end of stream on. If that fails, a later read has the errno. */
static void
dir_shutdown(struct relay *r, int peer)
{
	r->dirs[peer].done = true;
	if (shutdown(r->dirs[peer].out, SHUT_WR) == -1)
		mark_failed(r, !peer);
}

/* Moves pending bytes to the spill buffer, or gives back its pages. */
static void
dir_spill(struct relay_dir *d)
{
	if (d->buffered && !d->in_spill) {
		d->data = memcpy(d->spill, d->data, d->buffered);
		d->in_spill = true;
	} else if (!d->buffered && d->in_spill) {
		memory_wipe(d->spill, RELAY_COPY);
		d->in_spill = false;
	}
}

/* Reads and writes once. Returns true if anything has changed. */
static bool
dir_pump(struct relay *r, int peer)
{
	struct relay_dir *d = &r->dirs[peer], *opposite = &r->dirs[!peer];
	int moved = 0;

	if (can_read(d))
		moved = dir_read(d, opposite);
	if (d->eof && !d->done && opposite->cut && is_reset(d))
		moved = fail_errno(ECONNRESET);
	if (moved == -1) {
		d->done = true;
		set_error(r, peer);
	} else if (has_pending(d) && !d->done && d->writable) {
		moved = dir_write(d);
		if (moved == -1)
			set_write_error(r, !peer);
	} else if (d->eof && !d->done && !has_pending(d)) {
		dir_shutdown(r, peer);
	}
	dir_spill(d);
	return moved != 0;
}

/* Pumps both directions until neither moves. Returns true if any has moved. */
static bool
pump_both(struct relay *r)
{
	bool moved = false;

	r->runnable = true;
	for (int i = 0; i < ROUNDS_MAX && r->runnable; i++) {
		r->runnable = dir_pump(r, RELAY_CLIENT);
		r->runnable |= dir_pump(r, RELAY_TARGET);
		moved |= r->runnable;
	}
	return moved;
}

void
relay_init(struct relay *r, int client, int target, bool both_tcp,
    unsigned char *spill, struct conn_report *report)
{
	*r = (struct relay){0};
	for (int peer = RELAY_CLIENT; peer <= RELAY_TARGET; peer++)
		r->dirs[peer] = (struct relay_dir){
		    .in = peer == RELAY_CLIENT ? client : target,
		    .out = peer == RELAY_CLIENT ? target : client,
		    .pipe = {-1, -1},
		    .skipped = -1,
		    .read_to_eagain = !both_tcp,
		    .spill = spill + (size_t)peer * RELAY_COPY,
		    .count = peer == RELAY_CLIENT ? &report->up : &report->down,
		};
}

void
relay_target_failed(struct relay *r, int error)
{
	errno = error;
	set_write_error(r, RELAY_TARGET);
}

int
relay_register(int epoll, int fd, uint64_t data)
{
	struct epoll_event ev = {
	    .events = EPOLLIN | EPOLLOUT | EPOLLPRI | EPOLLRDHUP | EPOLLET,
	    .data.u64 = data,
	};

	return epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &ev);
}

void
relay_event(struct relay *r, int peer, uint32_t events)
{
	if (events & (EPOLLIN | EPOLLRDHUP | EPOLLHUP | EPOLLERR))
		r->dirs[peer].readable = true;
	if (events & (EPOLLPRI | EPOLLRDHUP | EPOLLHUP | EPOLLERR))
		r->dirs[peer].read_to_eagain = true;
	if (events & (EPOLLOUT | EPOLLHUP | EPOLLERR))
		r->dirs[!peer].writable = true;
	if (events & EPOLLERR)
		mark_failed(r, peer);
}

/*
 * Ends the directions that cannot deliver. Returns how many bytes the others
 * still have to deliver, and 1 more for each that may still read.
 */
static size_t
count_undelivered(struct relay *r)
{
	size_t n = 0;

	for (int peer = RELAY_CLIENT; peer <= RELAY_TARGET; peer++) {
		struct relay_dir *d = &r->dirs[peer];

		if (r->failed[peer] && !r->failed[!peer])
			n += !d->done + d->buffered + d->in_pipe +
			    io_unacked(d->out);
		else
			d->done = true;
	}
	return n;
}

/* Returns true while a relay that has met an error has bytes to deliver. */
static bool
drain_step(struct relay *r, bool moved)
{
	size_t n = count_undelivered(r);

	if (!n)
		return false;
	if (moved || !r->draining || n < r->undelivered)
		r->progress_at = now_ms();
	r->undelivered = n;
	return now_ms() - r->progress_at < IO_STALL_MS;
}

/*
 * An event that moves nothing is normal, because the step before may have moved
 * the bytes. More than SPURIOUS_MAX of them in a row mean that the relay spins.
 */
int
relay_step(struct relay *r)
{
	struct relay_dir *up = &r->dirs[RELAY_CLIENT];
	struct relay_dir *down = &r->dirs[RELAY_TARGET];
	bool expected = can_read(up) || can_read(down);
	bool moved = pump_both(r);

	if (moved)
		r->spurious_wakeups = 0;
	else if (expected && !r->error && ++r->spurious_wakeups > SPURIOUS_MAX)
		set_local_error(r, ELOOP);
	if (r->runnable)
		return 0;
	errno = ECONNRESET; /* of a socket that failed without an errno */
	for (int peer = RELAY_CLIENT; peer <= RELAY_TARGET && !r->error; peer++)
		if (r->failed[peer])
			set_error(r, peer);
	if (!r->error)
		return up->done && down->done;
	r->draining = drain_step(r, moved);
	return r->draining ? 0 : -1;
}

msec
relay_timeout(const struct relay *r, const struct timeouts *times)
{
	msec timeout = times->idle;

	if (r->draining)
		return IO_POLL_ACKED_MS;
	if (!r->dirs[RELAY_CLIENT].done && !r->dirs[RELAY_TARGET].done)
		return timeout;
	if (times->half_close && (!timeout || times->half_close < timeout))
		timeout = times->half_close;
	return timeout;
}

int
relay_finish(struct relay *r, int result, struct conn_report *report)
{
	enum end_reason end = result == 0 ? END_IDLE
	    : result == 1                 ? END_CLOSED
					  : r->error_end;

	for (int peer = RELAY_CLIENT; peer <= RELAY_TARGET; peer++) {
		struct relay_dir *d = &r->dirs[peer];

		if (d->pipe[0] != -1)
			io_close_pipe(d->pipe);
		d->buffered = 0;
		dir_spill(d);
		memory_wipe(relay_buffer, d->copied);
		if (end == END_CLOSED)
			sock_reset_on_close(d->in, false);
	}
	report->end = (int32_t)end;
	report->error = end == END_IDLE ? ETIMEDOUT : r->error;
	return end == END_CLOSED ? 0 : -1;
}

/* Waits for events. Returns their number, 0 after the time limit, or -1. */
static int
wait_events(int epoll, struct relay *r, const struct timeouts *times)
{
	msec limit = msec_min(relay_timeout(r, times), INT32_MAX);
	int timeout = r->runnable ? 0 : limit ? (int)limit : -1;
	struct epoll_event ev[2];
	int n = epoll_wait(epoll, ev, 2, timeout);

	for (int i = 0; i < n; i++)
		relay_event(r, (int)ev[i].data.u64, ev[i].events);
	return n;
}

/* Returns the last result of relay_step(), or 0 after the time limit. */
static int
relay_run(int epoll, struct relay *r, const struct timeouts *times)
{
	int n, result = 0;

	for (int peer = RELAY_CLIENT; peer <= RELAY_TARGET; peer++)
		if (relay_register(epoll, r->dirs[peer].in, peer) == -1)
			result = set_local_error(r, errno);
	while (!result) {
		n = wait_events(epoll, r, times);
		if (n == 0 && !r->runnable && !r->draining)
			break;
		result = n == -1 && errno != EINTR ? set_local_error(r, errno)
						   : relay_step(r);
	}
	return result;
}

int
relay(int epoll, int client, int target, bool both_tcp, int target_error,
    const struct timeouts *times, struct conn_report *report)
{
	struct relay r;

	relay_init(&r, client, target, both_tcp, spills[0], report);
	if (target_error)
		relay_target_failed(&r, target_error);
	return relay_finish(&r, relay_run(epoll, &r, times), report);
}
