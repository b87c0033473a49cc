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
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stddef.h>
#include <sys/socket.h>
#include <sys/types.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/errname.h"
#include "base/fd.h"
#include "base/io.h"
#include "base/log.h"
#include "base/report.h"
#include "base/sandbox.h"
#include "base/sock.h"
#include "base/timeouts.h"
#include "config/config.h"
#include "config/endpoint.h"
#include "config/map.h"
#include "dial/conn.h"
#include "dial/dial.h"
#include "netns.h"
#include "tcp/stdio.h"

#define COPY_SIZE 65536

struct stdio_dir {
	int in, out;
	size_t head, buffered;
	bool eof, done; /* passed on */
	unsigned char data[COPY_SIZE];
};

struct link {
	struct stdio_dir up, down; /* to the target, and from it */
	int server;
	int error;   /* the first one, or 0 */
	bool broken; /* the target's socket has met an error, */
	bool spent;  /* and a write has taken it: a read does not see it */
};

/* 0, or -1 with errno. */
static int
fill(struct stdio_dir *d)
{
	ssize_t n = recv(d->in, d->data, sizeof(d->data), MSG_DONTWAIT);

	if (n == -1 && errno == ENOTSOCK)
		n = read(d->in, d->data, sizeof(d->data));
	if (n == -1)
		return errno == EAGAIN || errno == EINTR ? 0 : -1;
	d->head = 0;
	d->buffered = (size_t)n;
	d->eof = n == 0;
	return 0;
}

static int
flush(struct stdio_dir *d)
{
	const unsigned char *data = d->data + d->head;
	ssize_t n =
	    send(d->out, data, d->buffered, MSG_DONTWAIT | MSG_NOSIGNAL);

	if (n == -1 && errno == ENOTSOCK)
		n = write(d->out, data,
		    d->buffered < PIPE_BUF ? d->buffered : PIPE_BUF);
	if (n == -1)
		return errno == EAGAIN || errno == EINTR ? 0 : -1;
	d->head += (size_t)n;
	d->buffered -= (size_t)n;
	return 0;
}

/* Nothing more goes this way, since one of its descriptors failed. */
static void
dir_fail(struct link *l, struct stdio_dir *d, int fd, int error)
{
	d->done = true;
	if (!l->error)
		l->error = error;
	if (fd == l->server)
		l->broken = l->up.done = true;
}

/* Standard input may be the same socket: closing alone would not tell. */
static void
dir_close(struct link *l, struct stdio_dir *d)
{
	int result = shutdown(d->out, SHUT_WR);

	d->done = true;
	if (d->out == STDOUT_FILENO)
		result = close(d->out);
	if (result == -1)
		dir_fail(l, d, d->out,
		    d->out == l->server ? ECONNRESET : errno);
}

static void
read_from(struct link *l, struct stdio_dir *d)
{
	int result = fill(d);

	/* What broke has no end of stream, unless a write said so. */
	if (d == &l->down && d->eof && l->spent)
		dir_fail(l, d, d->in, ECONNRESET);
	else if (result == -1)
		dir_fail(l, d, d->in, errno);
	else if (d->eof)
		dir_close(l, d);
}

static void
write_to(struct link *l, struct stdio_dir *d)
{
	if (flush(d) == 0)
		return;
	l->spent |= d == &l->up && errno != EPIPE;
	dir_fail(l, d, d->out, errno);
}

/* Does what can be done. */
static void
link_step(struct link *l, struct stdio_dir *d, short readable, short writable)
{
	if (d->done)
		return;
	if (d->buffered && writable)
		write_to(l, d);
	else if (writable & POLLERR)
		dir_fail(l, d, d->out, ECONNRESET);
	else if (readable)
		read_from(l, d);
	else if (writable & POLLHUP)
		d->done = true;
}

/*
 * Until when nothing may move. Once the input or the output failed, only what is
 * there counts.
 */
static msec
idle_timeout_of(const struct link *l, const struct timeouts *times)
{
	msec timeout = times->idle;

	if (l->error && !l->broken)
		return now_ms() + (l->up.buffered ? IO_STALL_MS : 0);
	if ((l->up.done || l->down.done) && times->half_close &&
	    (!timeout || times->half_close < timeout))
		timeout = times->half_close;
	return timeout ? now_ms() + timeout : NEVER;
}

/* A way that failed does not keep the other from what is there to deliver. */
static int
link_relay(struct link *l, const struct timeouts *times)
{
	struct stdio_dir *up = &l->up, *down = &l->down;

	while (!up->done || !down->done) {
		/* Behind its end the target may still reset, or be gone. */
		int gone = down->eof ? POLLERR | POLLHUP : 0;
		struct pollfd watched[] = {
		    {up->done || up->buffered ? -1 : up->in, POLLIN, 0},
		    {up->done ? -1 : up->out,
			(short)(up->buffered ? POLLOUT : gone), 0},
		    {down->done || down->buffered ? -1 : down->in, POLLIN, 0},
		    {down->done ? -1 : down->out, down->buffered ? POLLOUT : 0,
			0},
		};

		if (io_wait(watched, 4, idle_timeout_of(l, times)) == -1) {
			if (!l->error)
				return -1;
			break;
		}
		link_step(l, up, watched[0].revents, watched[1].revents);
		link_step(l, down, watched[2].revents, watched[3].revents);
	}
	/* An input that is not read to its end makes of exit(3) a reset. */
	if (l->error && !l->broken) {
		io_wait_acked(l->server);
	} else if (!l->up.eof) {
		io_wait_acked(STDIN_FILENO);
		io_wait_acked(STDOUT_FILENO);
	}
	errno = l->error;
	return errno ? -1 : 0;
}

static int
relay_stdio(int server, const struct timeouts *times)
{
	struct link link = {
	    .up = {.in = STDIN_FILENO, .out = server},
	    .down = {.in = server, .out = STDOUT_FILENO},
	    .server = server,
	};
	const struct linger none = {0};

	if (link_relay(&link, times) == -1)
		return -1;
	return setsockopt(server, SOL_SOCKET, SO_LINGER, &none, sizeof(none));
}

static bool
has_names(const struct map *map)
{
	bool found = false;

	for (size_t i = 0; i < map->n_targets; i++)
		found |= map->targets[i].kind == EP_HOST;
	return map->n_hops ? map->hops->side.kind == EP_HOST : found;
}

static int
confine(const struct config *conf, const struct map *map, pid_t parent)
{
	unsigned role =
	    SANDBOX_STDIO | SANDBOX_MAY_NARROW | SANDBOX_UNIX | SANDBOX_BIND;
	bool names = has_names(map);

	fd_close_except(&(int){STDERR_FILENO}, 1);
	if ((names && ns_mount_etc(&map->target_ns) == -1) ||
	    sandbox_drop_privileges(&conf->owner_cred, map->mark) == -1 ||
	    sandbox_die_with_parent(parent) == -1)
		return -1;
	return conf->no_sandbox
	    ? 0
	    : sandbox_seccomp(role | (names ? SANDBOX_NAMES : 0));
}

static int
fail(const struct map *map, const char *what)
{
	log_error("'%s': %s: %s", map->spec, what, errno_name(errno));
	return 1;
}

/* The exit status. */
static int
stdio_child(const struct config *conf, const struct map *map, pid_t parent)
{
	const char *hint;
	struct conn_report report = {0};
	struct conn conn = {
	    .map = map,
	    .client = -1,
	    .udp_fd = -1,
	    .report = &report,
	};
	int server;

	if (ns_enter(&map->target_ns) == -1) {
		hint = ns_hint(&map->target_ns, errno);
		log_error("'%s': cannot enter namespace '%s' (%s)", map->spec,
		    ns_spec(&map->target_ns), hint ? hint : errno_name(errno));
		return errno == EPERM || errno == EACCES ? 1 : 2;
	}
	if (confine(conf, map, parent) == -1)
		return fail(map, "cannot drop privileges");
	sock_set_oobinline(STDIN_FILENO); /* where it is a socket */
	conn.deadline = deadline_after(now_ms(), map->times.connect);
	server = dial(&conn);
	if (server == -1)
		return fail(map, "cannot reach the target");
	sandbox_set_rlimits();
	if (!conf->no_sandbox && sandbox_seccomp(SANDBOX_STDIO) == -1)
		return fail(map, "cannot filter system calls");
	if (relay_stdio(server, &map->times) == -1)
		return fail(map, "the connection broke");
	return 0;
}

int
stdio_run(const struct config *conf)
{
	const struct map *map = conf->maps;
	pid_t parent = getpid(), pid;
	int status = 0;

	if (conf->wait_for_ns || conf->pin || conf->daemonize || conf->syslog ||
	    conf->pidfile || conf->stats || conf->ready_fd != -1) {
		log_error("'%s': an option that is for a server", map->spec);
		return 2;
	}
	sandbox_no_ptrace();
	if (sandbox_limit_caps() == -1)
		return fail(map, "cannot drop privileges");
	pid = fork();
	if (pid == 0)
		_exit(stdio_child(conf, map, parent));
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
	log_error("'%s': its connection was killed by signal %d", map->spec,
	    WTERMSIG(status));
	return 1;
}
