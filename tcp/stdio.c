/* Relays one connection between standard input and output and a target. */

/*
 * Theory of operation
 *
 * The process that was started forks a child and waits for it. The child enters
 * the target namespace, dials, relays and exits, and is killed when its parent
 * exits. The parent turns every end of the child into an exit status.
 *
 * relay.c cannot be used here. Standard input and output can be any kind of
 * file, and other processes share them: they must not be made non-blocking, and
 * not all kinds work with epoll. So each is read or written only when poll(2)
 * reports it, and a pipe is written at most PIPE_BUF bytes, for which it then
 * has room.
 *
 * The target is treated as in relay.c. Its socket has SO_LINGER {1, 0} until
 * both directions have ended. A write to the target that fails does not end the
 * direction that reads from it: all bytes that arrived before the reset are
 * written to the output. When the input or output fails, the target is reset,
 * after it has acknowledged the bytes that were read before. A UNIX target that
 * is closed reads nothing more, and reports POLLHUP, which ends the input as
 * well.
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

#include "tcp/stdio.h"

#include "base/advice.h"
#include "base/clock.h"
#include "base/errname.h"
#include "base/fd.h"
#include "base/io.h"
#include "base/log.h"
#include "base/report.h"
#include "base/sandbox.h"
#include "base/seccomp.h"
#include "base/sock.h"
#include "base/timeouts.h"
#include "config/absent.h"
#include "config/config.h"
#include "config/endpoint.h"
#include "config/map.h"
#include "dial/conn.h"
#include "dial/dial.h"
#include "dial/resolve.h"
#include "dial/why.h"
#include "netns.h"

#define COPY_SIZE 65536

struct stdio_dir {
	int in, out;
	size_t head,
	    buffered; /* the bytes of `data` that are not written yet */
	bool eof;     /* `in` has reached its end */
	bool done;    /* nothing moves in this direction any more */
	unsigned char data[COPY_SIZE];
};

struct stdio_relay {
	struct stdio_dir up, down; /* to the target; from the target */
	int target;
	int error;           /* the first error, or 0 */
	bool target_failed;  /* the target has failed, maybe not first */
	bool error_consumed; /* a write has returned the target's error */
};

/* The descriptors that are waited for. */
enum {
	UP_IN,
	UP_OUT,
	DOWN_IN,
	DOWN_OUT,
	STDIO_FDS
};

/* Reads bytes that have arrived, or sets d->eof. Returns -1 with errno. */
static int
stdio_read(struct stdio_dir *d)
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

/* Writes as many bytes as there is room for. Returns -1 with errno. */
static int
stdio_write(struct stdio_dir *d)
{
	const unsigned char *data = d->data + d->head;
	size_t atomic = d->buffered < PIPE_BUF ? d->buffered : PIPE_BUF;
	ssize_t n =
	    send(d->out, data, d->buffered, MSG_DONTWAIT | MSG_NOSIGNAL);

	if (n == -1 && errno == ENOTSOCK)
		n = write(d->out, data, atomic);
	if (n == -1)
		return errno == EAGAIN || errno == EINTR ? 0 : -1;
	d->head += (size_t)n;
	d->buffered -= (size_t)n;
	return 0;
}

/* Ends a direction because fd, its `in` or `out`, has failed. */
static void
dir_fail(struct stdio_relay *r, struct stdio_dir *d, int fd, int error)
{
	d->done = true;
	if (!r->error)
		r->error = error;
	if (fd == r->target)
		r->target_failed = r->up.done = true;
}

/*
 * Passes the end of stream on. The output is shut down as well as closed,
 * because the same socket may be open as the input.
 */
static void
dir_close(struct stdio_relay *r, struct stdio_dir *d)
{
	int result = shutdown(d->out, SHUT_WR);

	d->done = true;
	if (d->out == STDOUT_FILENO)
		result = close(d->out);
	if (result == -1)
		dir_fail(r, d, d->out,
		    d->out == r->target ? ECONNRESET : errno);
}

static void
dir_fill(struct stdio_relay *r, struct stdio_dir *d)
{
	int result = stdio_read(d);

	if (result == -1)
		dir_fail(r, d, d->in, errno);
	else if (d->eof && d == &r->down && r->error_consumed)
		dir_fail(r, d, d->in, ECONNRESET);
	else if (d->eof)
		dir_close(r, d);
}

/*
 * Ends the direction to the target because of an error that no read returns.
 * EPIPE is not the error of a reset, see relay.c.
 */
static void
fail_target(struct stdio_relay *r, int error)
{
	r->error_consumed |= error != EPIPE;
	dir_fail(r, &r->up, r->target, error);
}

static void
dir_flush(struct stdio_relay *r, struct stdio_dir *d)
{
	if (stdio_write(d) == 0)
		return;
	if (d == &r->up)
		fail_target(r, errno);
	else
		dir_fail(r, d, d->out, errno);
}

/* Moves bytes by the events of poll(2) for `in` and `out`. */
static void
dir_step(struct stdio_relay *r, struct stdio_dir *d, short in, short out)
{
	if (d->done)
		return;
	if (d->buffered && out)
		dir_flush(r, d);
	else if (out & POLLERR)
		dir_fail(r, d, d->out, ECONNRESET);
	else if (in)
		dir_fill(r, d);
	else if (out & POLLHUP)
		d->done = true;
}

/*
 * Returns the time until which a step waits. After an error of the input or
 * output, it waits for nothing but room for the bytes that were read before.
 */
static msec
step_deadline(const struct stdio_relay *r, const struct timeouts *times)
{
	msec timeout = times->idle;

	if (r->error && !r->target_failed)
		return now_ms() + (r->up.buffered ? IO_STALL_MS : 0);
	if ((r->up.done || r->down.done) && times->half_close &&
	    (!timeout || times->half_close < timeout))
		timeout = times->half_close;
	return timeout ? now_ms() + timeout : NEVER;
}

/*
 * Waits and moves bytes once. Returns -1 with errno after the deadline. When
 * the target's stream has ended, a later reset or close of its socket counts.
 */
static int
stdio_step(struct stdio_relay *r, const struct timeouts *times)
{
	struct stdio_dir *up = &r->up, *down = &r->down;
	int gone = down->eof ? POLLERR | POLLHUP : 0;
	struct pollfd p[STDIO_FDS] = {
	    [UP_IN] = {up->done || up->buffered ? -1 : up->in, POLLIN, 0},
	    [UP_OUT] = {up->done ? -1 : up->out,
		(short)(up->buffered ? POLLOUT : gone), 0},
	    [DOWN_IN] = {down->done || down->buffered ? -1 : down->in, POLLIN,
		0},
	    [DOWN_OUT] = {down->done ? -1 : down->out,
		down->buffered ? POLLOUT : 0, 0},
	};

	if (io_wait(p, STDIO_FDS, step_deadline(r, times)) == -1)
		return -1;
	dir_step(r, up, p[UP_IN].revents, p[UP_OUT].revents);
	dir_step(r, down, p[DOWN_IN].revents, p[DOWN_OUT].revents);
	return 0;
}

/*
 * Waits until the peers have acknowledged all bytes, because the exit of the
 * process resets the target's socket after an error, and otherwise a socket
 * that is the input but was not read to its end.
 */
static void
wait_delivered(const struct stdio_relay *r)
{
	if (r->error && !r->target_failed) {
		io_wait_acked(r->target);
	} else if (!r->up.eof) {
		io_wait_acked(STDIN_FILENO);
		io_wait_acked(STDOUT_FILENO);
	}
}

/* Returns 0 when both directions have ended, or -1 with errno. */
static int
relay_stdio(int target, int target_error, const struct timeouts *times)
{
	struct stdio_relay r = {
	    .up = {.in = STDIN_FILENO, .out = target},
	    .down = {.in = target, .out = STDOUT_FILENO},
	    .target = target,
	};

	if (target_error)
		fail_target(&r, target_error);
	while (!r.up.done || !r.down.done)
		if (stdio_step(&r, times) == -1) {
			if (!r.error)
				return -1;
			break;
		}
	wait_delivered(&r);
	if (r.error)
		return fail_errno(r.error);
	sock_reset_on_close(target, false);
	return 0;
}

int
stdio_confine(const struct config *conf, const struct map *map, pid_t parent)
{
	unsigned role =
	    SANDBOX_STDIO | SANDBOX_MAY_NARROW | SANDBOX_UNIX | SANDBOX_BIND;
	int keep[RESOLVER_FDS];

	if (map->proto == PROTO_UDP)
		role |= SANDBOX_UDP;
	fd_close_except(keep, resolver_fds(keep), INT_MAX);
	if (map_has_names(map))
		role |= SANDBOX_NAMES;
	if (map->dev)
		role |= SANDBOX_DEVICE;
	if (sandbox_drop_privileges(&conf->owner_cred,
		map->mark ? KEEP_MARK : KEEP_NONE) == -1 ||
	    sandbox_die_with_parent(parent) == -1)
		return -1;
	sandbox_set_rlimits(false);
	if (conf->no_sandbox)
		return 0;
	resolver_limit_files(role);
	return sandbox_seccomp(role);
}

/* Logs that `action` failed with errno. Returns the exit status. */
static int
log_failure(const struct map *map, const char *action)
{
	log_error("'%s': %s: %s", map->spec, action, errno_name(errno));
	return 1;
}

/* Logs that no target was reached. Returns the exit status. */
static int
log_unreached(const struct map *map, const struct conn_report *report, int err)
{
	char advice[ADVICE_SIZE], text[RESOLVE_TEXT_MAX];
	const char *why = err < 0 ? NULL : dial_why(advice, map, report, err);

	log_error("'%s': cannot reach the target: %s%s%s%s", map->spec,
	    err < 0 ? resolve_text(text, sizeof(text)) : errno_name(err),
	    why ? " (" : "", why ? why : "", why ? ")" : "");
	return 1;
}

/* Returns 0, or the exit status. */
static int
enter_target_ns(const struct map *map)
{
	char absent[ABSENT_SIZE];
	const char *hint;
	int root[2], err;

	if (ns_enter(&map->target_ns, root) == 0)
		return resolver_open(map, root) == 0
		    ? 0
		    : log_failure(map, "cannot open /etc");
	err = errno;
	hint = ns_is_missing(err) ? absent_hint(absent, &map->target_ns, err)
				  : ns_hint(&map->target_ns, err);
	log_error("'%s': cannot enter namespace '%s' (%s)", map->spec,
	    ns_spec(&map->target_ns), hint ? hint : errno_name(err));
	return err == EPERM || err == EACCES ? 1 : EXIT_USAGE;
}

/* Returns the exit status of the child. */
static int
stdio_child(const struct config *conf, const struct map *map, pid_t parent)
{
	struct conn_report report = {0};
	struct conn conn = {
	    .map = map,
	    .client = -1,
	    .udp_answer = -1,
	    .report = &report,
	};
	int target, target_error, status = enter_target_ns(map);

	if (status)
		return status;
	if (stdio_confine(conf, map, parent) == -1)
		return log_failure(map, "cannot drop privileges");
	sock_set_oobinline(STDIN_FILENO); /* fails unless it is a socket */
	conn.deadline = deadline_after(now_ms(), map->times.connect);
	target = dial(&conn, &target_error);
	if (target == -1)
		return log_unreached(map, &report, errno);
	resolver_close();
	if (!conf->no_sandbox && sandbox_seccomp(SANDBOX_STDIO) == -1)
		return log_failure(map, "cannot filter system calls");
	if (relay_stdio(target, target_error, &map->times) == -1)
		return log_failure(map, "the connection broke");
	return 0;
}

/* Waits for the child. Returns the exit status of the program. */
static int
wait_stdio_child(const struct map *map, pid_t pid)
{
	int status = 0;

	while (waitpid(pid, &status, 0) == -1 && errno == EINTR)
		;
	if (WIFEXITED(status))
		return WEXITSTATUS(status);
	log_error("'%s': its connection was killed by signal %d", map->spec,
	    WTERMSIG(status));
	return 1;
}

int
stdio_run(const struct config *conf)
{
	const struct map *map = conf->maps;
	pid_t parent = getpid(), pid;

	if (conf->wait_for_ns || conf->pin || conf->daemonize || conf->syslog ||
	    conf->pidfile || conf->stats || conf->ready_fd != -1) {
		log_error("'%s': an option that is for a server", map->spec);
		return EXIT_USAGE;
	}
	sandbox_no_ptrace();
	if (sandbox_limit_caps() == -1)
		return log_failure(map, "cannot drop privileges");
	pid = fork();
	if (pid == 0)
		_exit(stdio_child(conf, map, parent));
	if (pid == -1)
		return log_failure(map, "fork");
	/*
	 * Otherwise the peers of input and output would wait for this process
	 * to exit.
	 */
	close(STDIN_FILENO);
	close(STDOUT_FILENO);
	return wait_stdio_child(map, pid);
}
