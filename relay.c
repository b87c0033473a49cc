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
 * IO_LOOK_MS. A peer that takes nothing for IO_STALL_MS is reset without the
 * rest, as it would be directly, by a sender whose window is full. A UNIX socket
 * needs no such wait: what was written is in the queue of its peer.
 */

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <netinet/tcp.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <unistd.h>

#include "io.h"
#include "relay.h"

#define SPLICE_FROM 32768   /* a read of this many bytes makes it splice */
#define SPLICE_SIZE 1048576 /* at most in one call */
#define PIPE_SIZE   1048576
#define PIPE_LEAST  65536 /* below this copying is cheaper */
#define ROUNDS      8     /* before one looks whether the other side stirred */
#define IN_VAIN_MAX 1000  /* wake-ups in a row for which there was no cause */

/*
 * For what is read: nothing stays in the first while another half has its turn.
 * The others are for what does, of the one connection of relay().
 */
static _Alignas(4096) unsigned char copies[3][RELAY_COPY];

static void
set_linger(int fd, int on)
{
	const struct linger linger = {.l_onoff = on, .l_linger = 0};

	setsockopt(fd, SOL_SOCKET, SO_LINGER, &linger, sizeof(linger));
}

void
relay_prepare(int fd)
{
	const int on = 1;

	/* A UNIX socket knows some of these only, and is none the worse. */
	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
	setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof(on));
	setsockopt(fd, SOL_SOCKET, SO_OOBINLINE, &on, sizeof(on));
	set_linger(fd, 1);
}

void
relay_inline(int fd)
{
	const int on = 1;

	setsockopt(fd, SOL_SOCKET, SO_OOBINLINE, &on, sizeof(on));
}

static void
close_pipe(struct half *h)
{
	close(h->pipe[0]);
	close(h->pipe[1]);
	h->pipe[0] = h->pipe[1] = -1;
}

/* Failure only means to go on copying: so a full descriptor table is no error. */
static void
open_pipe(struct half *h)
{
	int size;

	if (h->tried)
		return;
	h->tried = true;
	if (pipe2(h->pipe, O_NONBLOCK | O_CLOEXEC) == -1) {
		h->pipe[0] = h->pipe[1] = -1;
		return;
	}
	size = fcntl(h->pipe[1], F_SETPIPE_SZ, PIPE_SIZE);
	if (size == -1)
		size = fcntl(h->pipe[1], F_GETPIPE_SZ);
	if (size < PIPE_LEAST)
		close_pipe(h);
}

static bool
holds(const struct half *h)
{
	return h->held || h->queued;
}

static ssize_t
splice_in(struct half *h)
{
	ssize_t n;

	do
		n = splice(h->from, NULL, h->pipe[1], NULL, SPLICE_SIZE,
		    SPLICE_F_MOVE | SPLICE_F_NONBLOCK);
	while (n == -1 && errno == EINTR);
	if (n > 0)
		h->queued = (size_t)n;
	else if (n == -1 && errno == EINVAL)
		close_pipe(h); /* no socket to splice from */
	return n;
}

static ssize_t
copy_in(struct half *h)
{
	ssize_t n;

	do
		n = recv(h->from, copies[0], RELAY_COPY, 0);
	while (n == -1 && errno == EINTR);
	if (n > 0) {
		h->at = copies[0];
		h->held = (size_t)n;
	}
	return n;
}

/*
 * 1: read something or the end; 0: nothing there; -1: error, in errno. In front
 * of an urgent byte splice(2) takes the error that lies behind it.
 */
static int
fill(struct half *h)
{
	ssize_t n = 0;

	if (h->pipe[0] != -1)
		n = splice_in(h);
	if (n == -1 && errno != EAGAIN && errno != EINVAL)
		h->spent = errno;
	if (n <= 0)
		n = copy_in(h);
	if (n == -1) {
		if (errno != EAGAIN)
			return -1;
		h->readable = false;
		return 0;
	}
	if (n == 0 && h->spent) {
		errno = h->spent;
		return -1;
	}
	if (n == 0)
		h->eof = true;
	else if (n >= SPLICE_FROM)
		open_pipe(h);
	else if (h->held && !h->wary)
		h->readable = false;
	return 1;
}

/* 1: delivered something; 0: no room; -1: error, in errno. */
static int
flush(struct half *h)
{
	ssize_t n;

	do {
		if (h->held)
			n = send(h->to, h->at, h->held, MSG_NOSIGNAL);
		else
			n = splice(h->pipe[0], NULL, h->to, NULL, h->queued,
			    SPLICE_F_MOVE | SPLICE_F_NONBLOCK);
	} while (n == -1 && errno == EINTR);
	if (n == -1) {
		if (errno != EAGAIN)
			return -1;
		h->writable = false;
		return 0;
	}
	if (h->held) {
		h->at += (size_t)n;
		h->held -= (size_t)n;
	} else {
		h->queued -= (size_t)n;
	}
	*h->count += (uint64_t)n;
	return 1;
}

/* That socket is broken: what reads from it looks for itself from now on. */
static void
mark_broken(struct pair *pair, int side)
{
	pair->broken[side] = true;
	pair->half[side].readable = pair->half[side].wary = true;
}

/* The first error is the one that counts, and is blamed on its side. */
static void
fail(struct pair *pair, int side)
{
	mark_broken(pair, side);
	if (pair->error)
		return;
	pair->error = errno;
	pair->blame = side;
}

/* A write has met the error of that side's socket, in errno. */
static void
fail_write(struct pair *pair, int side)
{
	pair->half[!side].done = true;
	if (errno != EPIPE)
		pair->half[side].spent = errno;
	fail(pair, side);
}

/* Passes the end of stream on. That this fails tells nothing of the reason. */
static int
finish(struct pair *pair, int side)
{
	pair->half[side].done = true;
	if (shutdown(pair->half[side].to, SHUT_WR) == 0)
		return 0;
	mark_broken(pair, !side);
	return 1;
}

/* Does what half[side] can do now; true if anything moved, or failed. */
static bool
pump(struct pair *pair, int side)
{
	struct half *h = &pair->half[side];
	int did = 0;

	if (h->done)
		return false;
	if (!holds(h) && !h->eof && h->readable)
		did = fill(h);
	if (did == -1) {
		h->done = true;
		fail(pair, side);
		return true;
	}
	if (holds(h) && h->writable)
		did = flush(h);
	else if (h->eof && !holds(h))
		did = finish(pair, side);
	if (did == -1)
		fail_write(pair, !side);
	return did != 0;
}

/* What could not be sent on moves out of the way of other halves. */
static void
settle(struct half *h)
{
	if (h->held && !h->kept) {
		h->at = memcpy(h->own, h->at, h->held);
		h->kept = true;
	} else if (!h->held && h->kept) {
		madvise(h->own, RELAY_COPY, MADV_DONTNEED);
		h->kept = false;
	}
}

static bool
step(struct pair *pair, int side)
{
	bool moved = pump(pair, side);

	settle(&pair->half[side]);
	return moved;
}

void
relay_begin(struct pair *pair, int client, int server, bool inet,
    unsigned char *own, struct tally *tally)
{
	*pair = (struct pair){.half = {
				  {.from = client,
				      .to = server,
				      .pipe = {-1, -1},
				      .wary = !inet,
				      .own = own,
				      .count = &tally->up},
				  {.from = server,
				      .to = client,
				      .pipe = {-1, -1},
				      .wary = !inet,
				      .own = own + RELAY_COPY,
				      .count = &tally->down},
			      }};
}

int
relay_watch(int epoll, int fd, uint64_t data)
{
	struct epoll_event ev = {
	    .events = EPOLLIN | EPOLLOUT | EPOLLPRI | EPOLLRDHUP | EPOLLET,
	    .data.u64 = data,
	};

	return epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &ev);
}

void
relay_note(struct pair *pair, int side, uint32_t events)
{
	if (events & (EPOLLIN | EPOLLRDHUP | EPOLLHUP | EPOLLERR))
		pair->half[side].readable = true;
	if (events & (EPOLLPRI | EPOLLRDHUP | EPOLLHUP | EPOLLERR))
		pair->half[side].wary = true;
	if (events & (EPOLLOUT | EPOLLHUP | EPOLLERR))
		pair->half[!side].writable = true;
	if (events & EPOLLERR)
		mark_broken(pair, side);
}

/* It was told that there is something to read, and has room for it. */
static bool
expects(const struct half *h)
{
	return h->readable && !h->eof && !h->done && !holds(h);
}

/* As long as anything can move, for a while: true if something did. */
static bool
pump_both(struct pair *pair)
{
	bool moved = false;

	pair->busy = true;
	for (int i = 0; i < ROUNDS && pair->busy; i++) {
		pair->busy = step(pair, RELAY_CLIENT);
		pair->busy |= step(pair, RELAY_SERVER);
		moved |= pair->busy;
	}
	return moved;
}

/*
 * True as long as the half that reads from a broken socket has something to
 * deliver to one that is not. All others are done.
 */
static bool
drains(struct pair *pair, bool moved)
{
	size_t left = 0;

	for (int side = RELAY_CLIENT; side <= RELAY_SERVER; side++) {
		struct half *h = &pair->half[side];

		if (pair->broken[side] && !pair->broken[!side])
			left +=
			    !h->done + h->held + h->queued + io_unacked(h->to);
		else
			h->done = true;
	}
	if (!left)
		return false;
	if (moved || !pair->drains || left < pair->left)
		pair->moved_at = now();
	pair->left = left;
	return now() - pair->moved_at < IO_STALL_MS;
}

/*
 * A half that failed does not stop the other, which delivers what its side sent
 * before the error. An edge may be stale, once: what it told of was read in the
 * turn before. A thousand of them are a relay that spins.
 */
int
relay_turn(struct pair *pair)
{
	bool expected = expects(&pair->half[RELAY_CLIENT]) ||
	    expects(&pair->half[RELAY_SERVER]);
	bool moved = pump_both(pair);

	if (moved)
		pair->in_vain = 0;
	else if (expected && !pair->error && ++pair->in_vain > IN_VAIN_MAX)
		pair->error = ELOOP;
	if (pair->busy)
		return 0;
	for (int side = RELAY_CLIENT; side <= RELAY_SERVER && !pair->error;
	     side++)
		if (pair->broken[side]) {
			errno = ECONNRESET;
			fail(pair, side);
		}
	if (!pair->error)
		return pair->half[RELAY_CLIENT].done &&
		    pair->half[RELAY_SERVER].done;
	pair->drains = drains(pair, moved);
	return pair->drains ? 0 : -1;
}

deadline
relay_patience(const struct pair *pair, const struct times *times)
{
	deadline span = times->idle;

	if (pair->drains)
		return IO_LOOK_MS;
	if (pair->half[RELAY_CLIENT].done || pair->half[RELAY_SERVER].done)
		if (times->half_close && (!span || times->half_close < span))
			span = times->half_close;
	return span;
}

int
relay_end(struct pair *pair, int ended, struct tally *tally)
{
	enum end end = ended == 0  ? END_IDLE
	    : ended == 1           ? END_CLOSED
	    : pair->error == ELOOP ? END_LOCAL
	    : pair->blame          ? END_TARGET
				   : END_CLIENT;

	for (int side = RELAY_CLIENT; side <= RELAY_SERVER; side++) {
		struct half *h = &pair->half[side];

		if (h->pipe[0] != -1)
			close_pipe(h);
		h->held = 0;
		if (h->kept)
			settle(h);
		if (end == END_CLOSED)
			set_linger(h->from, 0);
	}
	tally->end = (int32_t)end;
	tally->error = end == END_IDLE ? ETIMEDOUT : pair->error;
	return end == END_CLOSED ? 0 : -1;
}

static int
wait_events(int epoll, struct pair *pair, const struct times *times)
{
	deadline span = relay_patience(pair, times);
	int timeout = pair->busy ? 0
	    : !span              ? -1
	    : span > INT_MAX     ? INT_MAX
				 : (int)span;
	struct epoll_event ev[2];
	int n;

	do
		n = epoll_wait(epoll, ev, 2, timeout);
	while (n == -1 && errno == EINTR);
	for (int i = 0; i < n; i++)
		relay_note(pair, (int)ev[i].data.u64, ev[i].events);
	return n;
}

int
relay(int client, int server, bool inet, int error, const struct times *times,
    struct tally *tally)
{
	struct pair pair;
	int epoll, n, ended = 0;

	relay_begin(&pair, client, server, inet, copies[1], tally);
	errno = error;
	if (error)
		fail_write(&pair, RELAY_SERVER);
	epoll = epoll_create1(EPOLL_CLOEXEC);
	if (epoll == -1 || relay_watch(epoll, client, RELAY_CLIENT) == -1 ||
	    relay_watch(epoll, server, RELAY_SERVER) == -1)
		n = -1;
	else
		do {
			n = wait_events(epoll, &pair, times);
			if (n == -1 || (n == 0 && !pair.busy && !pair.drains))
				break;
			ended = relay_turn(&pair);
		} while (!ended);
	if (n != -1)
		return relay_end(&pair, ended, tally);
	tally->end = END_LOCAL;
	tally->error = errno;
	return -1;
}
