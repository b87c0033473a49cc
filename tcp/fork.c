/* Connections as processes: started by fork(2), reaped when they have ended. */

#include <signal.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/epoll.h>
#include <sys/signalfd.h>
#include <sys/types.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/addr.h"
#include "base/clock.h"
#include "base/proctitle.h"
#include "config/map.h"
#include "dial/conn.h"
#include "mapper/mapper.h"
#include "tcp/conn.h"
#include "tcp/fork.h"

#define REAP_CHILDREN_PER_MS \
	64 /* children; later by a millisecond for each so many */

static struct forks {
	unsigned role; /* of a connection */
	int signal_fd;
	int max_fd; /* the highest descriptor that a connection closes */
	pid_t *pids;
	const uint32_t *used;
	uint32_t children;
	msec
	    reap_all_at; /* when to reap all: one SIGCHLD can stand for several */
	void (*on_exit)(uint32_t, int);
} forks;

int
fork_init(const struct mapper_args *args, int epoll, uint64_t data, pid_t *pid,
    const uint32_t *used, void (*ended)(uint32_t, int))
{
	struct epoll_event ev = {.events = EPOLLIN, .data.u64 = data};
	sigset_t chld;

	sigemptyset(&chld);
	sigaddset(&chld, SIGCHLD);
	forks.signal_fd = signalfd(-1, &chld, SFD_CLOEXEC | SFD_NONBLOCK);
	if (forks.signal_fd == -1 ||
	    epoll_ctl(epoll, EPOLL_CTL_ADD, forks.signal_fd, &ev) == -1)
		return -1;
	forks.role = args->role;
	forks.pids = pid;
	forks.used = used;
	forks.on_exit = ended;
	forks.max_fd =
	    forks.signal_fd > args->channel ? forks.signal_fd : args->channel;
	for (size_t i = 0; i < args->n_listeners + args->n_udp_relays; i++)
		if (args->listeners[i].fd > forks.max_fd)
			forks.max_fd = args->listeners[i].fd;
	return 0;
}

pid_t
fork_conn(struct conn *conn)
{
	char text[SOCKADDR_STRLEN];
	pid_t pid = fork();

	forks.children += pid > 0;
	if (pid)
		return pid;
	proctitle_set(sockaddr_format(&conn->peer.sa, text), " > ",
	    conn->map->spec);
	conn_main(conn, forks.max_fd, forks.role);
}

/*
 * Asks for a connection that SIGCHLD told of. One that somebody has stopped goes
 * on, because only its mapper says when it is to end.
 */
static bool
reap(uint32_t i)
{
	int status;

	if (waitpid(forks.pids[i], &status, WNOHANG | WUNTRACED) <= 0)
		return false;
	if (WIFSTOPPED(status)) {
		kill(forks.pids[i], SIGCONT);
		return true;
	}
	forks.children--;
	forks.on_exit(i, status);
	return true;
}

/*
 * It costs less to ask for one child than for any, for whom waitpid(2) looks at
 * all of them: where there are thousands that is left for later.
 */
void
fork_handle_sigchld(void)
{
	struct signalfd_siginfo info;

	if (read(forks.signal_fd, &info, sizeof(info)) == -1)
		return;
	for (uint32_t i = 0; i < *forks.used; i++)
		if (forks.pids[i] == (pid_t)info.ssi_pid && reap(i))
			break;
	if (!forks.reap_all_at && forks.children)
		forks.reap_all_at =
		    now_ms() + 1 + forks.children / REAP_CHILDREN_PER_MS;
}

msec
fork_run_timers(msec at)
{
	if (!forks.reap_all_at)
		return NEVER;
	if (forks.reap_all_at > at)
		return forks.reap_all_at;
	forks.reap_all_at = 0;
	for (uint32_t i = 0; i < *forks.used; i++)
		if (forks.pids[i])
			reap(i);
	return NEVER;
}
