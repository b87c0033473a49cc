/* Connections as processes: started by fork(2), reaped when they have ended. */

#include <signal.h>
#include <sys/epoll.h>
#include <sys/signalfd.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tcp.h"

#define FEW 64 /* children; later by a millisecond for each so many */

static struct forks {
	unsigned role; /* of a connection */
	int signals;
	int last; /* the highest descriptor that a connection closes */
	pid_t *pid;
	const uint32_t *used;
	uint32_t children;
	deadline
	    sweep; /* when to reap all: one SIGCHLD can stand for several */
	void (*ended)(uint32_t, int);
} forks;

int
fork_init(const struct post *post, int epoll, uint64_t data, pid_t *pid,
    const uint32_t *used, void (*ended)(uint32_t, int))
{
	struct epoll_event ev = {.events = EPOLLIN, .data.u64 = data};
	sigset_t chld;

	sigemptyset(&chld);
	sigaddset(&chld, SIGCHLD);
	forks.signals = signalfd(-1, &chld, SFD_CLOEXEC | SFD_NONBLOCK);
	if (forks.signals == -1 ||
	    epoll_ctl(epoll, EPOLL_CTL_ADD, forks.signals, &ev) == -1)
		return -1;
	forks.role = post->role;
	forks.pid = pid;
	forks.used = used;
	forks.ended = ended;
	forks.last =
	    forks.signals > post->channel ? forks.signals : post->channel;
	for (size_t i = 0; i < post->listeners + post->spares; i++)
		if (post->listener[i].fd > forks.last)
			forks.last = post->listener[i].fd;
	return 0;
}

pid_t
fork_begin(struct call *call)
{
	char text[LOG_ADDR];
	pid_t pid = fork();

	forks.children += pid > 0;
	if (pid)
		return pid;
	title_set(log_addr(&call->from.any, text), " > ", call->map->word);
	conn_live(call, forks.last, forks.role);
}

/*
 * Asks for a connection that SIGCHLD told of. One that somebody has stopped goes
 * on, because only its mapper says when it is to end.
 */
static bool
reap(uint32_t i)
{
	int status;

	if (waitpid(forks.pid[i], &status, WNOHANG | WUNTRACED) <= 0)
		return false;
	if (WIFSTOPPED(status)) {
		kill(forks.pid[i], SIGCONT);
		return true;
	}
	forks.children--;
	forks.ended(i, status);
	return true;
}

/*
 * It costs less to ask for one child than for any, for whom waitpid(2) looks at
 * all of them: where there are thousands that is left for later.
 */
void
fork_event(void)
{
	struct signalfd_siginfo info;

	if (read(forks.signals, &info, sizeof(info)) == -1)
		return;
	for (uint32_t i = 0; i < *forks.used; i++)
		if (forks.pid[i] == (pid_t)info.ssi_pid && reap(i))
			break;
	if (!forks.sweep && forks.children)
		forks.sweep = now() + 1 + forks.children / FEW;
}

deadline
fork_due(deadline at)
{
	if (!forks.sweep)
		return NEVER;
	if (forks.sweep > at)
		return forks.sweep;
	forks.sweep = 0;
	for (uint32_t i = 0; i < *forks.used; i++)
		if (forks.pid[i])
			reap(i);
	return NEVER;
}
