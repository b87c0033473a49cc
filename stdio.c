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
 */

#include <errno.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include "nsfwd.h"

#define COPY_SIZE 65536

struct way {
	int from, to;
	size_t head, held;
	bool eof, done; /* passed on */
	unsigned char data[COPY_SIZE];
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

/* Standard input may be the same socket: closing alone would not tell. */
static int
finish(struct way *w)
{
	int result = shutdown(w->to, SHUT_WR);

	w->done = true;
	return w->to == STDOUT_FILENO ? close(w->to) : result;
}

/* Does what can be done; -1 when this way has failed. */
static int
move(struct way *w, short readable, short writable)
{
	int result = 0;

	if (w->held && writable)
		result = flush(w);
	else if (writable & POLLERR) {
		errno = ECONNRESET;
		result = -1;
	} else if (readable)
		result = fill(w);
	if (result == 0 && w->eof && !w->done)
		result = finish(w);
	if (result == -1)
		w->done = true;
	return result;
}

/* How long nothing may move, for poll(2). */
static int
patience(const struct way *way, const struct times *times)
{
	deadline span = times->idle;

	if ((way[0].done || way[1].done) && times->half_close &&
	    (!span || times->half_close < span))
		span = times->half_close;
	return !span ? -1 : span > INT_MAX ? INT_MAX : (int)span;
}

/* A way that failed does not keep the other from what is there to deliver. */
static int
relay_all(struct way *way, const struct times *times)
{
	struct pollfd watched[4];
	int error = 0;

	while (!way[0].done || !way[1].done) {
		for (size_t i = 0; i < 2; i++) {
			const struct way *w = &way[i];
			/* Behind its end the target may still reset. */
			bool look = w->held || (i == 0 && way[1].eof);

			watched[2 * i] = (struct pollfd){
			    .fd = w->held || w->eof || w->done ? -1 : w->from,
			    .events = POLLIN,
			};
			watched[2 * i + 1] = (struct pollfd){
			    .fd = w->done || !look ? -1 : w->to,
			    .events = w->held ? POLLOUT : 0,
			};
		}
		if (poll(watched, 4, error ? 0 : patience(way, times)) == 0) {
			errno = error ? error : ETIMEDOUT;
			return -1;
		}
		for (size_t i = 0; i < 2; i++)
			if (move(&way[i], watched[2 * i].revents,
				watched[2 * i + 1].revents) == -1 &&
			    !error)
				error = errno;
	}
	errno = error;
	return error ? -1 : 0;
}

static int
relay_stdio(int server, const struct times *times)
{
	struct way way[2] = {
	    {.from = STDIN_FILENO, .to = server},
	    {.from = server, .to = STDOUT_FILENO},
	};
	const struct linger none = {0};

	if (relay_all(way, times) == -1)
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
