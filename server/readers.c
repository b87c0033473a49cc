/* Opens and polls the sockets of readers, and logs the table of SIGUSR1. */

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>
#include <sys/wait.h>

#include "base/array.h"
#include "base/errname.h"
#include "base/log.h"
#include "config/config.h"
#include "config/map.h"
#include "config/stats.h"
#include "server/answer.h"
#include "server/inspect.h"
#include "server/readers.h"
#include "server/stats_socket.h"

void
readers_init(struct readers *r, const struct services *services,
    const struct config *conf)
{
	const struct answers metrics = {ANSWER_METRICS, ANSWERS_MAX, {0}};
	const struct answers http = {ANSWER_HTTP, ANSWERS_MAX, {0}};
	const struct answers table = {ANSWER_STATUS, 1, {0}};

	*r = (struct readers){
	    .services = services,
	    .conf = conf,
	    .stats = {.fd = -1, .answers = metrics},
	    .status = {.fd = -1, .answers = table},
	    .tcp = {.answers = http},
	};
	if (conf->stats && stats_parse(&r->tcp.map, conf->stats))
		r->stats.path = conf->stats;
}

int
readers_open(struct readers *r)
{
	int status = inspect_program(r->conf);

	if (!status && r->stats.path)
		status = stats_socket_open(&r->stats, false) == -1;
	else if (!status && r->conf->stats)
		status = stats_tcp_open(&r->tcp, r->conf);
	return status;
}

void
readers_open_status(struct readers *r)
{
	stats_socket_open_status(&r->status);
}

bool
readers_wait(const struct readers *r)
{
	return r->conf->stats && r->stats.fd == -1 &&
	    !r->tcp.service.listeners_ns;
}

void
readers_check(struct readers *r)
{
	stats_socket_check(&r->stats);
	stats_tcp_check(&r->tcp, r->conf);
}

void
readers_close(struct readers *r)
{
	stats_socket_close(&r->stats);
	stats_socket_close(&r->status);
	stats_tcp_close(&r->tcp);
}

void
readers_watch(const struct readers *r, struct pollfd *fds)
{
	const int watched[READERS_FDS] = {
	    stats_socket_pollfd(&r->stats),
	    stats_socket_pollfd(&r->status),
	    stats_tcp_pollfd(&r->tcp, 0),
	    stats_tcp_pollfd(&r->tcp, 1),
	};

	for (size_t i = 0; i < READERS_FDS; i++)
		fds[i] = (struct pollfd){.fd = watched[i], .events = POLLIN};
}

/* A signal or a check can have closed a socket since poll(2). */
void
readers_accept(struct readers *r, const struct pollfd *fds)
{
	if (fds[0].revents && stats_socket_pollfd(&r->stats) != -1)
		stats_socket_accept(&r->stats, r->services, r->conf);
	if (fds[1].revents && stats_socket_pollfd(&r->status) != -1)
		stats_socket_accept(&r->status, r->services, r->conf);
	for (size_t i = 0; i < STATS_TCP_FDS; i++)
		if (fds[2 + i].revents && stats_tcp_pollfd(&r->tcp, i) != -1)
			stats_tcp_accept(&r->tcp, i, r->services, r->conf);
}

void
readers_log_table(struct readers *r)
{
	struct answers *answers = &r->status.answers;

	r->table_wanted = answers_full(answers);
	if (!r->table_wanted &&
	    answer_spawn(answers, ANSWER_LOG, -1, r->services, r->conf) == -1)
		log_error("no table: fork: %s", errno_name(errno));
}

/* A process that took too long was killed by its alarm. */
void
readers_exited(struct readers *r, pid_t pid, int status)
{
	struct answers *const all[] = {
	    &r->stats.answers,
	    &r->status.answers,
	    &r->tcp.answers,
	};

	for (size_t i = 0; i < ARRAY_LEN(all); i++)
		if (answers_exited(all[i], pid) && WIFSIGNALED(status) &&
		    WTERMSIG(status) != SIGALRM)
			log_error("--stats: its process was killed by signal "
				  "%d",
			    WTERMSIG(status));
	if (r->table_wanted)
		readers_log_table(r);
}
