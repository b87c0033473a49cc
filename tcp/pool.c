/* The mapper of a TCP map with workers: their birth, replacement and end. */

#include <errno.h>
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

#include "base/clock.h"
#include "base/errname.h"
#include "base/log.h"
#include "base/proctitle.h"
#include "config/map.h"
#include "mapper/command.h"
#include "mapper/mapper.h"
#include "tcp/pool.h"
#include "tcp/tcp.h"

#define RESPAWN_MS 1000 /* between two births of one worker */

static struct pool {
	const struct mapper_args *args;
	struct worker_slot {
		pid_t pid; /* 0: there is none */
		msec spawned_at;
	} slots[WORKERS_MAX];
	uint32_t n_workers, n_running;
	struct pollfd pollfds[2]; /* signals; the channel to the server */
	int lifeline[2]; /* a worker's channel: its end is that of our end */
	bool draining, killing;
} pool;

static void
log_worker_exit(int status)
{
	const char *word = pool.args->map->spec;

	if (WIFSIGNALED(status))
		log_error("'%s': a worker was killed by signal %d", word,
		    WTERMSIG(status));
	else if (!pool.draining)
		log_error("'%s': a worker ended with status %d", word,
		    WEXITSTATUS(status));
}

/* Nobody else says when a worker is to stop. */
static void
resume(pid_t pid, int status)
{
	kill(pid, SIGCONT);
	log_ratelimited("'%s': a worker was stopped by signal %d: continued",
	    pool.args->map->spec, WSTOPSIG(status));
}

static void
reap(void)
{
	struct signalfd_siginfo info;
	int status;
	pid_t pid;

	if (read(pool.pollfds[0].fd, &info, sizeof(info)) == -1)
		return;
	/* More than one of each are of later signals: not to hold up orders. */
	for (uint32_t n = 0; n < 2 * pool.n_workers &&
	     (pid = waitpid(-1, &status, WNOHANG | WUNTRACED)) > 0;
	     n++) {
		if (WIFSTOPPED(status)) {
			resume(pid, status);
			continue;
		}
		for (uint32_t i = 0; i < pool.n_workers; i++)
			if (pool.slots[i].pid == pid) {
				pool.slots[i].pid = 0;
				pool.n_running--;
				table_worker_died(i, pool.killing ? 0 : status);
				if (!pool.killing)
					log_worker_exit(status);
			}
	}
}

/* Of the mapper it keeps only the listeners. */
static _Noreturn void
work(uint32_t i)
{
	close(pool.pollfds[0].fd);
	close(pool.pollfds[1].fd);
	close(pool.lifeline[1]);
	proctitle_set("worker", " of ", pool.args->map->spec);
	worker_main(i, pool.lifeline[0]);
}

/* Replaces the dead; returns how long it is until the next may be born, or -1. */
static int
spawn_missing(void)
{
	int span = -1;

	for (uint32_t i = 0; i < pool.n_workers && !pool.draining; i++) {
		struct worker_slot *slot = &pool.slots[i];
		msec left = slot->spawned_at + RESPAWN_MS - now_ms();

		if (slot->pid)
			continue;
		if (!slot->spawned_at || left <= 0) {
			slot->spawned_at = now_ms();
			slot->pid = fork();
			if (slot->pid == 0)
				work(i);
			if (slot->pid > 0) {
				pool.n_running++;
				continue;
			}
			slot->pid = 0;
			left = RESPAWN_MS;
			log_error("'%s': no worker: fork: %s",
			    pool.args->map->spec, errno_name(errno));
		}
		span = span == -1 || left < span ? (int)left : span;
	}
	return span;
}

static void
pool_handle_command(void)
{
	enum mapper_command command = mapper_read_command(pool.pollfds[1].fd);

	if (command == CMD_NONE)
		return;
	if (command == CMD_ENDED)
		pool.pollfds[1].fd = -1;
	if (command == CMD_DUMP) {
		table_dump(pool.pollfds[1].fd);
		return;
	}
	if (!pool.draining) {
		pool_mark_draining();
		close(pool.lifeline[1]);
		for (size_t i = 0; i < pool.args->n_listeners; i++)
			close(pool.args->listeners[i].fd);
	}
	pool.draining = true;
	pool.killing |= command == CMD_KILL;
	for (uint32_t i = 0; i < pool.n_workers && pool.killing; i++)
		if (pool.slots[i].pid)
			kill(pool.slots[i].pid, SIGKILL);
}

int
pool_init(const struct mapper_args *args)
{
	sigset_t chld;

	sigemptyset(&chld);
	sigaddset(&chld, SIGCHLD);
	pool.args = args;
	pool.n_workers = args->map->workers;
	pool.pollfds[0].fd = signalfd(-1, &chld, SFD_CLOEXEC | SFD_NONBLOCK);
	pool.pollfds[1].fd = args->channel;
	pool.pollfds[0].events = pool.pollfds[1].events = POLLIN;
	if (pool.pollfds[0].fd == -1 ||
	    socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pool.lifeline) ==
		-1)
		return -1;
	return tcp_init(args);
}

_Noreturn void
pool_run(void)
{
	while (!pool.draining || pool.n_running)
		if (poll(pool.pollfds, 2, spawn_missing()) > 0) {
			if (pool.pollfds[0].revents)
				reap();
			if (pool.pollfds[1].revents)
				pool_handle_command();
		}
	_exit(0);
}
