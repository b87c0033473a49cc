/* Serves one connection on standard input and output. */

/*
 * Theory of operation
 *
 * The process that was started only waits for another one, which enters the
 * target's namespace for good, dials, relays and exits, and which dies with it.
 * So the resolver's deadline, which ends a process, is an exit status too.
 *
 * Standard input and output are anything that has a descriptor, and shared with
 * whoever started us: they are not made non-blocking, but only touched when
 * poll(2) says so, and a pipe with no more than PIPE_BUF bytes, for which there
 * is room then. The target is armed for a reset until both directions have
 * ended, as in relay.c.
 *
 * As there, a write to the target that fails does not end what is read from it:
 * all that it sent in front of its reset comes out, as slowly as the output
 * takes it. An input or output that fails ends the target by a reset, behind
 * what was there to send. A UNIX target that is closed reads nothing more, and
 * says so by POLLHUP: that is the end of the input, too.
 */

#include <errno.h>
#include <limits.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include "io.h"
#include "nsfwd.h"
#include "relay.h"

#define COPY_SIZE 65536

struct way {
	int from, to;
	size_t head, held;
	bool eof, done; /* passed on */
	unsigned char data[COPY_SIZE];
};

struct link {
	struct way up, down; /* to the target, and from it */
	int server;
	int error;   /* the first one, or 0 */
	bool broken; /* the target's socket has met an error, */
	bool spent;  /* and a write has taken it: a read does not see it */
};

/* 0, or -1 with errno. */
static int
fill(struct way *w)
{
	ssize_t n = recv(w->from, w->data, sizeof(w->data), MSG_DONTWAIT);

	if (n == -1 && errno == ENOTSOCK)
		n = read(w->from, w->data, sizeof(w->data));
	if (n == -1)
		return errno == EAGAIN || errno == EINTR ? 0 : -1;
	w->head = 0;
	w->held = (size_t)n;
	w->eof = n == 0;
	return 0;
}

static int
flush(struct way *w)
{
	const unsigned char *data = w->data + w->head;
	ssize_t n = send(w->to, data, w->held, MSG_DONTWAIT | MSG_NOSIGNAL);

	if (n == -1 && errno == ENOTSOCK)
		n = write(w->to, data, w->held < PIPE_BUF ? w->held : PIPE_BUF);
	if (n == -1)
		return errno == EAGAIN || errno == EINTR ? 0 : -1;
	w->head += (size_t)n;
	w->held -= (size_t)n;
	return 0;
}

/* Nothing more goes this way, since one of its descriptors failed. */
static void
fail_way(struct link *l, struct way *w, int fd, int error)
{
	w->done = true;
	if (!l->error)
		l->error = error;
	if (fd == l->server)
		l->broken = l->up.done = true;
}

/* Standard input may be the same socket: closing alone would not tell. */
static void
finish(struct link *l, struct way *w)
{
	int result = shutdown(w->to, SHUT_WR);

	w->done = true;
	if (w->to == STDOUT_FILENO)
		result = close(w->to);
	if (result == -1)
		fail_way(l, w, w->to, w->to == l->server ? ECONNRESET : errno);
}

static void
read_from(struct link *l, struct way *w)
{
	int result = fill(w);

	/* What broke has no end of stream, unless a write said so. */
	if (w == &l->down && w->eof && l->spent)
		fail_way(l, w, w->from, ECONNRESET);
	else if (result == -1)
		fail_way(l, w, w->from, errno);
	else if (w->eof)
		finish(l, w);
}

static void
write_to(struct link *l, struct way *w)
{
	if (flush(w) == 0)
		return;
	l->spent |= w == &l->up && errno != EPIPE;
	fail_way(l, w, w->to, errno);
}

/* Does what can be done. */
static void
move(struct link *l, struct way *w, short readable, short writable)
{
	if (w->done)
		return;
	if (w->held && writable)
		write_to(l, w);
	else if (writable & POLLERR)
		fail_way(l, w, w->to, ECONNRESET);
	else if (readable)
		read_from(l, w);
	else if (writable & POLLHUP)
		w->done = true;
}

/*
 * Until when nothing may move. Once the input or the output failed, only what is
 * there counts.
 */
static deadline
patience(const struct link *l, const struct times *times)
{
	deadline span = times->idle;

	if (l->error && !l->broken)
		return now() + (l->up.held ? IO_STALL_MS : 0);
	if ((l->up.done || l->down.done) && times->half_close &&
	    (!span || times->half_close < span))
		span = times->half_close;
	return span ? now() + span : NEVER;
}

/* A way that failed does not keep the other from what is there to deliver. */
static int
relay_all(struct link *l, const struct times *times)
{
	struct way *up = &l->up, *down = &l->down;

	while (!up->done || !down->done) {
		/* Behind its end the target may still reset, or be gone. */
		int gone = down->eof ? POLLERR | POLLHUP : 0;
		struct pollfd watched[] = {
		    {up->done || up->held ? -1 : up->from, POLLIN, 0},
		    {up->done ? -1 : up->to, (short)(up->held ? POLLOUT : gone),
			0},
		    {down->done || down->held ? -1 : down->from, POLLIN, 0},
		    {down->done ? -1 : down->to, down->held ? POLLOUT : 0, 0},
		};

		if (io_wait(watched, 4, patience(l, times)) == -1) {
			if (!l->error)
				return -1;
			break;
		}
		move(l, up, watched[0].revents, watched[1].revents);
		move(l, down, watched[2].revents, watched[3].revents);
	}
	/* An input that is not read to its end makes of exit(3) a reset. */
	if (l->error && !l->broken) {
		io_settle(l->server);
	} else if (!l->up.eof) {
		io_settle(STDIN_FILENO);
		io_settle(STDOUT_FILENO);
	}
	errno = l->error;
	return errno ? -1 : 0;
}

static int
relay_stdio(int server, const struct times *times)
{
	struct link link = {
	    .up = {.from = STDIN_FILENO, .to = server},
	    .down = {.from = server, .to = STDOUT_FILENO},
	    .server = server,
	};
	const struct linger none = {0};

	if (relay_all(&link, times) == -1)
		return -1;
	return setsockopt(server, SOL_SOCKET, SO_LINGER, &none, sizeof(none));
}

static bool
has_names(const struct map *map)
{
	bool found = false;

	for (size_t i = 0; i < map->targets; i++)
		found |= map->target[i].kind == SIDE_HOST;
	return map->hops ? map->hop->side.kind == SIDE_HOST : found;
}

static int
confine(const struct conf *conf, const struct map *map, pid_t parent)
{
	unsigned role =
	    SANDBOX_STDIO | SANDBOX_PARSES | SANDBOX_UNIX | SANDBOX_BIND;
	bool names = has_names(map);

	sandbox_close_others(&(int){STDERR_FILENO}, 1);
	if ((names && ns_etc(&map->to) == -1) ||
	    sandbox_drop(&conf->cred, map->mark) == -1 ||
	    sandbox_follow(parent) == -1)
		return -1;
	return conf->unconfined
	    ? 0
	    : sandbox_confine(role | (names ? SANDBOX_NAMES : 0));
}

static int
fail(const struct map *map, const char *what)
{
	log_error("'%s': %s: %s", map->word, what, log_errno(errno));
	return 1;
}

/* The exit status. */
static int
live(const struct conf *conf, const struct map *map, pid_t parent)
{
	const char *hint;
	struct tally tally = {0};
	struct call call = {
	    .map = map,
	    .client = -1,
	    .udp = -1,
	    .tally = &tally,
	};
	int server;

	if (ns_enter(&map->to) == -1) {
		hint = ns_hint(&map->to, errno);
		log_error("'%s': cannot enter namespace '%s' (%s)", map->word,
		    ns_word(&map->to), hint ? hint : log_errno(errno));
		return errno == EPERM || errno == EACCES ? 1 : 2;
	}
	if (confine(conf, map, parent) == -1)
		return fail(map, "cannot drop privileges");
	relay_inline(STDIN_FILENO); /* where it is a socket */
	server = dial(&call);
	if (server == -1)
		return fail(map, "cannot reach the target");
	sandbox_shrink();
	if (!conf->unconfined && sandbox_confine(SANDBOX_STDIO) == -1)
		return fail(map, "cannot filter system calls");
	if (relay_stdio(server, &map->times) == -1)
		return fail(map, "the connection broke");
	return 0;
}

int
stdio_serve(const struct conf *conf)
{
	const struct map *map = conf->map;
	pid_t parent = getpid(), pid;
	int status = 0;

	if (conf->wait || conf->pin || conf->background || conf->syslog ||
	    conf->pidfile || conf->stats || conf->ready_fd != -1) {
		log_error("'%s': an option that is for a server", map->word);
		return 2;
	}
	sandbox_hide();
	if (sandbox_keep() == -1)
		return fail(map, "cannot drop privileges");
	pid = fork();
	if (pid == 0)
		_exit(live(conf, map, parent));
	if (pid == -1)
		return fail(map, "fork");
	/* Whoever reads there would wait for us too. */
	close(STDIN_FILENO);
	close(STDOUT_FILENO);
	while (waitpid(pid, &status, 0) == -1 && errno == EINTR)
		;
	if (WIFEXITED(status))
		return WEXITSTATUS(status);
	if (WTERMSIG(status) == SIGALRM) {
		errno = ETIMEDOUT;
		return fail(map, "cannot reach the target");
	}
	log_error("'%s': its connection was killed by signal %d", map->word,
	    WTERMSIG(status));
	return 1;
}
