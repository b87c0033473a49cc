/* Moves the bytes of a connection between two sockets, correctly. */

/*
 * Theory of operation
 *
 * A relay is two halves, one for each direction. Both sockets are registered
 * once and edge-triggered; what an event says is kept in two booleans of each
 * half, "readable" until a read says EAGAIN and "writable" until a write does.
 * After a wake-up both halves are pumped in turn until neither moves, so that
 * no edge is ever waited for that has already passed: a short read is no end,
 * the FIN may lie behind it. Where that is not so, on a TCP socket of which no
 * event told of an end, an error or an urgent byte, a short read has taken all,
 * and what comes next raises an edge: that spares the read that says EAGAIN.
 *
 * A half reads only when it holds nothing. Then EAGAIN can only mean that the
 * socket is empty, never that the pipe is full (a pipe is full by its slots:
 * sixteen segments of one byte fill 64 KiB).
 *
 * It begins by copying, which is cheapest for small messages. A read that
 * fills a threshold makes it splice from then on, through a pipe made at that
 * moment. When splice finds nothing, or says 0, a recv(2) follows, because
 * splice stops for ever in front of an urgent byte.
 *
 * End of stream is a recv(2) that returns 0 on a socket that is not broken, and
 * is passed on by shutdown(2) once nothing is held. An error is passed on as a
 * reset. Both sockets are armed for that all the time by SO_LINGER {1, 0}:
 * however this process ends, by its own decision, by a signal or by the lack
 * of memory, both peers see a reset. Only when both halves have passed on
 * their end of stream are the sockets disarmed.
 *
 * A socket is "broken" once it reported EPOLLERR or refused a read, a write or
 * a shutdown. The half that writes into a broken socket is done. The half that
 * reads from it is not trusted to know that nothing is there: the event may be
 * on its way. It reads until it meets the end or the error itself, because the
 * kernel keeps what arrived in front of a reset. The kernel reports an error
 * once: a write that met it has "spent" it, and a read of 0 is no end then, but
 * that error. EPIPE is the exception, since it says that an end of stream came
 * before the reset (or that the socket is a UNIX one, which has not lost
 * anything): what is read then is true.
 *
 * What was read in front of the error is delivered before the error goes on.
 * That takes more than a write: close(2) with SO_LINGER {1, 0} throws away what
 * the kernel has not sent, and a segment that is lost on the way behind it is
 * never sent again. So the pair "drains" until the other peer has acknowledged
 * all of it, by SIOCOUTQ. There is no event for that: it is looked at every
 * IO_POLL_ACKED_MS. A peer that takes nothing for IO_STALL_MS is reset without the
 * rest, as it would be directly, by a sender whose window is full. A UNIX socket
 * needs no such wait: what was written is in the queue of its peer.
 */

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <netinet/tcp.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/types.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/io.h"
#include "base/report.h"
#include "base/sock.h"
#include "base/timeouts.h"
#include "relay.h"

#define SPLICE_MIN    32768   /* a read of this many bytes makes it splice */
#define SPLICE_SIZE   1048576 /* at most in one call */
#define PIPE_SIZE     1048576
#define PIPE_SIZE_MIN 65536 /* below this copying is cheaper */
#define ROUNDS_MAX    8    /* before one looks whether the other side stirred */
#define SPURIOUS_MAX  1000 /* wake-ups in a row for which there was no cause */

/*
 * For what is read: nothing stays in the first while another half has its turn.
 * The others are for what does, of the one connection of relay().
 */
static _Alignas(4096) unsigned char buffers[3][RELAY_COPY];

static void
close_pipe(struct relay_dir *d)
{
	close(d->pipe[0]);
	close(d->pipe[1]);
	d->pipe[0] = d->pipe[1] = -1;
}

/* Failure only means to go on copying: so a full descriptor table is no error. */
static void
open_pipe(struct relay_dir *d)
{
	int size;

	if (d->pipe_tried)
		return;
	d->pipe_tried = true;
	if (pipe2(d->pipe, O_NONBLOCK | O_CLOEXEC) == -1) {
		d->pipe[0] = d->pipe[1] = -1;
		return;
	}
	size = fcntl(d->pipe[1], F_SETPIPE_SZ, PIPE_SIZE);
	if (size == -1)
		size = fcntl(d->pipe[1], F_GETPIPE_SZ);
	if (size < PIPE_SIZE_MIN)
		close_pipe(d);
}

static bool
has_pending(const struct relay_dir *d)
{
	return d->buffered || d->in_pipe;
}

static ssize_t
splice_in(struct relay_dir *d)
{
	ssize_t n;

	do
		n = splice(d->in, NULL, d->pipe[1], NULL, SPLICE_SIZE,
		    SPLICE_F_MOVE | SPLICE_F_NONBLOCK);
	while (n == -1 && errno == EINTR);
	if (n > 0)
		d->in_pipe = (size_t)n;
	else if (n == -1 && errno == EINVAL)
		close_pipe(d); /* no socket to splice from */
	return n;
}

static ssize_t
copy_in(struct relay_dir *d)
{
	ssize_t n;

	do
		n = recv(d->in, buffers[0], RELAY_COPY, 0);
	while (n == -1 && errno == EINTR);
	if (n > 0) {
		d->data = buffers[0];
		d->buffered = (size_t)n;
	}
	return n;
}

/*
 * 1: read something or the end; 0: nothing there; -1: error, in errno. In front
 * of an urgent byte splice(2) takes the error that lies behind it.
 */
static int
dir_read(struct relay_dir *d)
{
	ssize_t n = 0;

	if (d->pipe[0] != -1)
		n = splice_in(d);
	if (n == -1 && errno != EAGAIN && errno != EINVAL)
		d->spent = errno;
	if (n <= 0)
		n = copy_in(d);
	if (n == -1) {
		if (errno != EAGAIN)
			return -1;
		d->readable = false;
		return 0;
	}
	if (n == 0 && d->spent) {
		errno = d->spent;
		return -1;
	}
	if (n == 0)
		d->eof = true;
	else if (n >= SPLICE_MIN)
		open_pipe(d);
	else if (d->buffered && !d->read_to_eagain)
		d->readable = false;
	return 1;
}

/* 1: delivered something; 0: no room; -1: error, in errno. */
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
		if (errno != EAGAIN)
			return -1;
		d->writable = false;
		return 0;
	}
	if (d->buffered) {
		d->data += (size_t)n;
		d->buffered -= (size_t)n;
	} else {
		d->in_pipe -= (size_t)n;
	}
	*d->count += (uint64_t)n;
	return 1;
}

/* That socket is broken: what reads from it looks for itself from now on. */
static void
mark_broken(struct relay *r, int peer)
{
	r->failed[peer] = true;
	r->dirs[peer].readable = r->dirs[peer].read_to_eagain = true;
}

/* The first error is the one that counts, and is blamed on its side. */
static void
fail(struct relay *r, int peer)
{
	mark_broken(r, peer);
	if (r->error)
		return;
	r->error = errno;
	r->error_side = peer;
}

/* A write has met the error of that side's socket, in errno. */
static void
fail_write(struct relay *r, int peer)
{
	r->dirs[!peer].done = true;
	if (errno != EPIPE)
		r->dirs[peer].spent = errno;
	fail(r, peer);
}

/* Passes the end of stream on. That this fails tells nothing of the reason. */
static int
dir_finish(struct relay *r, int peer)
{
	r->dirs[peer].done = true;
	if (shutdown(r->dirs[peer].out, SHUT_WR) == 0)
		return 0;
	mark_broken(r, !peer);
	return 1;
}

/* Does what half[side] can do now; true if anything moved, or failed. */
static bool
pump(struct relay *r, int peer)
{
	struct relay_dir *d = &r->dirs[peer];
	int did = 0;

	if (d->done)
		return false;
	if (!has_pending(d) && !d->eof && d->readable)
		did = dir_read(d);
	if (did == -1) {
		d->done = true;
		fail(r, peer);
		return true;
	}
	if (has_pending(d) && d->writable)
		did = dir_write(d);
	else if (d->eof && !has_pending(d))
		did = dir_finish(r, peer);
	if (did == -1)
		fail_write(r, !peer);
	return did != 0;
}

/* What could not be sent on moves out of the way of other halves. */
static void
dir_spill(struct relay_dir *d)
{
	if (d->buffered && !d->in_spill) {
		d->data = memcpy(d->spill, d->data, d->buffered);
		d->in_spill = true;
	} else if (!d->buffered && d->in_spill) {
		madvise(d->spill, RELAY_COPY, MADV_DONTNEED);
		d->in_spill = false;
	}
}

static bool
step(struct relay *r, int peer)
{
	bool moved = pump(r, peer);

	dir_spill(&r->dirs[peer]);
	return moved;
}

void
relay_init(struct relay *r, int client, int server, bool inet,
    unsigned char *own, struct conn_report *report)
{
	*r = (struct relay){.dirs = {
				{.in = client,
				    .out = server,
				    .pipe = {-1, -1},
				    .read_to_eagain = !inet,
				    .spill = own,
				    .count = &report->up},
				{.in = server,
				    .out = client,
				    .pipe = {-1, -1},
				    .read_to_eagain = !inet,
				    .spill = own + RELAY_COPY,
				    .count = &report->down},
			    }};
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
		mark_broken(r, peer);
}

/* It was told that there is something to read, and has room for it. */
static bool
can_read(const struct relay_dir *d)
{
	return d->readable && !d->eof && !d->done && !has_pending(d);
}

/* As long as anything can move, for a while: true if something did. */
static bool
pump_both(struct relay *r)
{
	bool moved = false;

	r->runnable = true;
	for (int i = 0; i < ROUNDS_MAX && r->runnable; i++) {
		r->runnable = step(r, RELAY_CLIENT);
		r->runnable |= step(r, RELAY_TARGET);
		moved |= r->runnable;
	}
	return moved;
}

/*
 * True as long as the half that reads from a broken socket has something to
 * deliver to one that is not. All others are done.
 */
static bool
drains(struct relay *r, bool moved)
{
	size_t left = 0;

	for (int peer = RELAY_CLIENT; peer <= RELAY_TARGET; peer++) {
		struct relay_dir *d = &r->dirs[peer];

		if (r->failed[peer] && !r->failed[!peer])
			left += !d->done + d->buffered + d->in_pipe +
			    io_unacked(d->out);
		else
			d->done = true;
	}
	if (!left)
		return false;
	if (moved || !r->drains || left < r->left)
		r->moved_at = now_ms();
	r->left = left;
	return now_ms() - r->moved_at < IO_STALL_MS;
}

/*
 * A half that failed does not stop the other, which delivers what its side sent
 * before the error. An edge may be stale, once: what it told of was read in the
 * turn before. A thousand of them are a relay that spins.
 */
int
relay_step(struct relay *r)
{
	bool expected = can_read(&r->dirs[RELAY_CLIENT]) ||
	    can_read(&r->dirs[RELAY_TARGET]);
	bool moved = pump_both(r);

	if (moved)
		r->spurious_wakeups = 0;
	else if (expected && !r->error && ++r->spurious_wakeups > SPURIOUS_MAX)
		r->error = ELOOP;
	if (r->runnable)
		return 0;
	for (int peer = RELAY_CLIENT; peer <= RELAY_TARGET && !r->error; peer++)
		if (r->failed[peer]) {
			errno = ECONNRESET;
			fail(r, peer);
		}
	if (!r->error)
		return r->dirs[RELAY_CLIENT].done && r->dirs[RELAY_TARGET].done;
	r->drains = drains(r, moved);
	return r->drains ? 0 : -1;
}

msec
relay_timeout(const struct relay *r, const struct timeouts *times)
{
	msec timeout = times->idle;

	if (r->drains)
		return IO_POLL_ACKED_MS;
	if (r->dirs[RELAY_CLIENT].done || r->dirs[RELAY_TARGET].done)
		if (times->half_close &&
		    (!timeout || times->half_close < timeout))
			timeout = times->half_close;
	return timeout;
}

int
relay_finish(struct relay *r, int ended, struct conn_report *report)
{
	enum end_reason end = ended == 0 ? END_IDLE
	    : ended == 1                 ? END_CLOSED
	    : r->error == ELOOP          ? END_LOCAL
	    : r->error_side              ? END_TARGET
					 : END_CLIENT;

	for (int peer = RELAY_CLIENT; peer <= RELAY_TARGET; peer++) {
		struct relay_dir *d = &r->dirs[peer];

		if (d->pipe[0] != -1)
			close_pipe(d);
		d->buffered = 0;
		if (d->in_spill)
			dir_spill(d);
		if (end == END_CLOSED)
			sock_reset_on_close(d->in, false);
	}
	report->end = (int32_t)end;
	report->error = end == END_IDLE ? ETIMEDOUT : r->error;
	return end == END_CLOSED ? 0 : -1;
}

static int
wait_events(int epoll, struct relay *r, const struct timeouts *times)
{
	msec timeout = relay_timeout(r, times);
	int ms = r->runnable    ? 0
	    : !timeout          ? -1
	    : timeout > INT_MAX ? INT_MAX
				: (int)timeout;
	struct epoll_event ev[2];
	int n;

	do
		n = epoll_wait(epoll, ev, 2, ms);
	while (n == -1 && errno == EINTR);
	for (int i = 0; i < n; i++)
		relay_event(r, (int)ev[i].data.u64, ev[i].events);
	return n;
}

int
relay(int client, int server, bool inet, int error,
    const struct timeouts *times, struct conn_report *report)
{
	struct relay r;
	int epoll, n, ended = 0;

	relay_init(&r, client, server, inet, buffers[1], report);
	errno = error;
	if (error)
		fail_write(&r, RELAY_TARGET);
	epoll = epoll_create1(EPOLL_CLOEXEC);
	if (epoll == -1 || relay_register(epoll, client, RELAY_CLIENT) == -1 ||
	    relay_register(epoll, server, RELAY_TARGET) == -1)
		n = -1;
	else
		do {
			n = wait_events(epoll, &r, times);
			if (n == -1 || (n == 0 && !r.runnable && !r.drains))
				break;
			ended = relay_step(&r);
		} while (!ended);
	if (n != -1)
		return relay_finish(&r, ended, report);
	report->end = END_LOCAL;
	report->error = errno;
	return -1;
}
