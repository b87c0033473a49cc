/* Spawns the workers of a TCP map, replaces those that exit, and drains. */

/*
 * Theory of operation
 *
 * The pool accepts nothing itself. Its workers inherit the listeners, the
 * tables and one end of a socket pair, the lifeline, on which nothing is sent:
 * when the other end is closed, because the pool drains or was killed, the
 * workers drain. pool_draining in shared memory tells the workers that the
 * pool was not killed. A worker that has exited is replaced, but in each slot
 * at most once in RESPAWN_MS.
 */

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/types.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tcp/pool.h"

#include "base/clock.h"
#include "base/errname.h"
#include "base/io.h"
#include "base/log.h"
#include "base/proctitle.h"
#include "base/seccomp.h"
#include "config/map.h"
#include "mapper/command.h"
#include "mapper/mapper.h"
#include "mapper/rows.h"
#include "tcp/fork.h"
#include "tcp/table.h"
#include "tcp/tcp.h"
#include "tcp/worker.h"

#define RESPAWN_MS 1000

/* Indices of pollfds. */
enum {
	POLL_SIGCHLD,
	POLL_CHANNEL,
	POLLFDS
};

static struct pool {
	struct tcp tcp;
	struct worker_slot {
		pid_t pid; /* or 0 */
		msec respawn_at;
	} workers[WORKERS_MAX];
	uint32_t n_workers, n_running;
	struct pollfd pollfds[POLLFDS];
	int lifeline[2]; /* [0]: the workers' end; [1]: the pool's end */
	bool draining;
} pool;

static void
log_worker_exit(int status)
{
	const char *spec = pool.tcp.args->map->spec;

	if (tcp_was_killed(status))
		;
	else if (WIFSIGNALED(status))
		log_error("'%s': a worker was killed by signal %d", spec,
		    WTERMSIG(status));
	else if (!pool.draining)
		log_error("'%s': a worker ended with status %d", spec,
		    WEXITSTATUS(status));
}

/* Continues a worker, because only its pool may stop it. */
static void
continue_worker(pid_t pid, int status)
{
	kill(pid, SIGCONT);
	log_ratelimited("'%s': a worker was stopped by signal %d: continued",
	    pool.tcp.args->map->spec, WSTOPSIG(status));
}

static void
worker_exited(pid_t pid, int status)
{
	for (uint32_t i = 0; i < pool.n_workers; i++) {
		if (pool.workers[i].pid != pid)
			continue;
		pool.workers[i].pid = 0;
		pool.n_running--;
		tcp_worker_exited(&pool.tcp, i, status);
		log_worker_exit(status);
	}
}

/*
 * Handles at most two stops or exits for each worker, so that workers that stop
 * again and again do not hold up commands. More of them raise another signal.
 */
static void
reap_workers(void)
{
	struct signalfd_siginfo info;
	int status;
	pid_t pid;

	if (read(pool.pollfds[POLL_SIGCHLD].fd, &info, sizeof(info)) == -1)
		return;
	for (uint32_t n = 0; n < 2 * pool.n_workers; n++) {
		pid = waitpid(-1, &status, WNOHANG | WUNTRACED);
		if (pid <= 0)
			break;
		if (WIFSTOPPED(status))
			continue_worker(pid, status);
		else
			worker_exited(pid, status);
	}
}

/*
 * Closes the descriptors of the pool but the listeners, gives up what only the
 * pool needs, and runs the worker.
 */
static _Noreturn void
run_worker(uint32_t i)
{
	const struct tables *tables = pool.tcp.tables;
	const unsigned role = pool.tcp.args->role;

	unblock_kill_signal();
	pool.tcp.pid = getpid();
	close(pool.pollfds[POLL_SIGCHLD].fd);
	close(pool.pollfds[POLL_CHANNEL].fd);
	close(pool.lifeline[1]);
	proctitle_set("worker", " of ", pool.tcp.args->map->spec);
	if (tables_confine(tables, &tables->items[i]) == -1 ||
	    (role &&
		sandbox_seccomp(role &
		    ~(SANDBOX_FORK | SANDBOX_POOL | SANDBOX_MAY_NARROW)) == -1))
		_exit(1);
	worker_main(&pool.tcp, i, pool.lifeline[0]);
}

static void
spawn_worker(uint32_t i)
{
	struct worker_slot *slot = &pool.workers[i];

	slot->respawn_at = now_ms() + RESPAWN_MS;
	slot->pid = fork();
	if (slot->pid == 0)
		run_worker(i);
	if (slot->pid > 0) {
		pool.n_running++;
		return;
	}
	slot->pid = 0;
	log_error("'%s': no worker: fork: %s", pool.tcp.args->map->spec,
	    errno_name(errno));
}

/*
 * Spawns the workers that are missing. Returns when to do so again, or NEVER.
 */
static msec
spawn_missing(void)
{
	msec next = NEVER;

	for (uint32_t i = 0; i < pool.n_workers && !pool.draining; i++) {
		struct worker_slot *slot = &pool.workers[i];

		if (!slot->pid && slot->respawn_at <= now_ms())
			spawn_worker(i);
		if (!slot->pid && slot->respawn_at < next)
			next = slot->respawn_at;
	}
	return next;
}

static void
drain(void)
{
	pool.draining = true;
	pool.tcp.tables->shared->pool_draining = true;
	close(pool.lifeline[1]);
	for (size_t i = 0; i < pool.tcp.args->n_listeners; i++)
		close(pool.tcp.args->listeners[i].fd);
}

/* Handles a command of the server. Drains at the end of the channel, too. */
static void
pool_handle_command(void)
{
	struct rows_request request;
	enum mapper_command command =
	    mapper_read_command(pool.pollfds[POLL_CHANNEL].fd, &request);

	if (command == CMD_NONE)
		return;
	if (command == CMD_ENDED)
		pool.pollfds[POLL_CHANNEL].fd = -1;
	if (command == CMD_ROWS)
		tcp_send_rows(&pool.tcp, &request);
	else if (!pool.draining)
		drain();
}

int
pool_init(const struct mapper_args *args)
{
	struct pollfd *sigchld = &pool.pollfds[POLL_SIGCHLD];

	pool.n_workers = args->map->workers;
	*sigchld = (struct pollfd){.fd = sigchld_open(), .events = POLLIN};
	pool.pollfds[POLL_CHANNEL] =
	    (struct pollfd){.fd = args->channel, .events = POLLIN};
	if (sigchld->fd == -1 || pipe2(pool.lifeline, O_CLOEXEC) == -1 ||
	    tcp_init(&pool.tcp, args, pool.n_workers) == -1)
		return -1;
	return worker_alloc(args->map, pool.tcp.acceptor.max_open);
}

_Noreturn void
pool_run(void)
{
	while (!pool.draining || pool.n_running) {
		if (io_wait(pool.pollfds, POLLFDS, spawn_missing()) == -1)
			continue;
		if (pool.pollfds[POLL_SIGCHLD].revents)
			reap_workers();
		if (pool.pollfds[POLL_CHANNEL].revents)
			pool_handle_command();
	}
	_exit(0);
}
