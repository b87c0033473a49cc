/* The mapper of a TCP map with workers: their birth, replacement and end. */

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <sys/signalfd.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tcp.h"

#define BIRTH_MS 1000 /* between two births of one worker */

static struct crew {
	const struct post *post;
	struct member {
		pid_t pid; /* 0: there is none */
		deadline begun;
	} member[WORKERS_MAX];
	uint32_t count, alive;
	struct pollfd watched[2]; /* signals; the channel to the server */
	int leash[2]; /* a worker's channel: its end is that of our end */
	bool draining, killing;
} crew;

static void
explain(int status)
{
	const char *word = crew.post->map->word;

	if (WIFSIGNALED(status))
		log_error("'%s': a worker was killed by signal %d", word,
		    WTERMSIG(status));
	else if (!crew.draining)
		log_error("'%s': a worker ended with status %d", word,
		    WEXITSTATUS(status));
}

/* Nobody else says when a worker is to stop. */
static void
resume(pid_t pid, int status)
{
	kill(pid, SIGCONT);
	log_limited("'%s': a worker was stopped by signal %d: continued",
	    crew.post->map->word, WSTOPSIG(status));
}

static void
reap(void)
{
	struct signalfd_siginfo info;
	int status;
	pid_t pid;

	if (read(crew.watched[0].fd, &info, sizeof(info)) == -1)
		return;
	/* More than one of each are of later signals: not to hold up orders. */
	for (uint32_t n = 0; n < 2 * crew.count &&
	     (pid = waitpid(-1, &status, WNOHANG | WUNTRACED)) > 0;
	     n++) {
		if (WIFSTOPPED(status)) {
			resume(pid, status);
			continue;
		}
		for (uint32_t i = 0; i < crew.count; i++)
			if (crew.member[i].pid == pid) {
				crew.member[i].pid = 0;
				crew.alive--;
				tcp_lost(i, crew.killing ? 0 : status);
				if (!crew.killing)
					explain(status);
			}
	}
}

/* Of the mapper it keeps only the listeners. */
static _Noreturn void
work(uint32_t i)
{
	close(crew.watched[0].fd);
	close(crew.watched[1].fd);
	close(crew.leash[1]);
	title_set("worker", " of ", crew.post->map->word);
	tcp_work(i, crew.leash[0]);
}

/* Replaces the dead; returns how long it is until the next may be born, or -1. */
static int
hire(void)
{
	int span = -1;

	for (uint32_t i = 0; i < crew.count && !crew.draining; i++) {
		struct member *m = &crew.member[i];
		deadline left = m->begun + BIRTH_MS - now();

		if (m->pid)
			continue;
		if (!m->begun || left <= 0) {
			m->begun = now();
			m->pid = fork();
			if (m->pid == 0)
				work(i);
			if (m->pid > 0) {
				crew.alive++;
				continue;
			}
			m->pid = 0;
			left = BIRTH_MS;
			log_error("'%s': no worker: fork: %s",
			    crew.post->map->word, log_errno(errno));
		}
		span = span == -1 || left < span ? (int)left : span;
	}
	return span;
}

/* The server's word, or its end. */
static void
obey(void)
{
	char order = ORDER_DRAIN;
	ssize_t n = recv(crew.watched[1].fd, &order, 1, MSG_DONTWAIT);

	if (n == -1)
		return;
	if (n == 0)
		crew.watched[1].fd = -1;
	if (order == ORDER_TABLE) {
		tcp_table(crew.watched[1].fd);
		return;
	}
	if (!crew.draining) {
		tcp_recall();
		close(crew.leash[1]);
		for (size_t i = 0; i < crew.post->listeners; i++)
			close(crew.post->listener[i].fd);
	}
	crew.draining = true;
	crew.killing |= order == ORDER_KILL;
	for (uint32_t i = 0; i < crew.count && crew.killing; i++)
		if (crew.member[i].pid)
			kill(crew.member[i].pid, SIGKILL);
}

int
crew_equip(const struct post *post)
{
	sigset_t chld;

	sigemptyset(&chld);
	sigaddset(&chld, SIGCHLD);
	crew.post = post;
	crew.count = post->map->workers;
	crew.watched[0].fd = signalfd(-1, &chld, SFD_CLOEXEC | SFD_NONBLOCK);
	crew.watched[1].fd = post->channel;
	crew.watched[0].events = crew.watched[1].events = POLLIN;
	if (crew.watched[0].fd == -1 ||
	    socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, crew.leash) ==
		-1)
		return -1;
	return tcp_equip(post);
}

_Noreturn void
crew_serve(void)
{
	while (!crew.draining || crew.alive)
		if (poll(crew.watched, 2, hire()) > 0) {
			if (crew.watched[0].revents)
				reap();
			if (crew.watched[1].revents)
				obey();
		}
	_exit(0);
}
