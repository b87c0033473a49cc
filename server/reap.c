/* Reaps the children of the server. */

#include <signal.h>
#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>
#include <sys/wait.h>

#include "base/clock.h"
#include "base/log.h"
#include "config/map.h"
#include "server/mapper_proc.h"
#include "server/readers.h"
#include "server/reap.h"
#include "server/service.h"

#define REAP_MAX        256  /* children at a time */
#define STOPS_MAX       10   /* stops of a mapper, before it is replaced */
#define REPLACE_WAIT_MS 2000 /* between two replacements in a service */

/*
 * Reaps the connections of a mapper that has exited. Returns true if some still
 * run. Until they exit, no other process group can have the mapper's number.
 */
static bool
has_orphans(const struct mapper_proc *m)
{
	pid_t pid;

	while ((pid = waitpid(-m->pid, NULL, WNOHANG)) > 0)
		;
	return pid == 0;
}

static void
mapper_exited(struct mapper_proc *m, int status)
{
	if (m->draining)
		;
	else if (WIFSIGNALED(status))
		log_error("'%s': its mapper was killed by signal %d",
		    m->service->map->spec, WTERMSIG(status));
	else
		log_error("'%s': its mapper ended with status %d",
		    m->service->map->spec, WEXITSTATUS(status));
	if (m->service && m->service->mapper == m)
		m->service->mapper = NULL;
	mapper_set_exited(m);
}

/*
 * Counts a stop, and replaces a mapper that was stopped too often, but not soon
 * after the last replacement, because the new mapper may be stopped as often.
 */
static void
mapper_stopped(struct mapper_proc *m, int status, msec drain_timeout)
{
	const struct service *s = m->service;

	log_ratelimited("'%s': its mapper was stopped by signal %d: continued",
	    s ? s->map->spec : "", WSTOPSIG(status));
	if (++m->n_stops < STOPS_MAX || m->draining || !s ||
	    now_ms() - s->last_attempt < REPLACE_WAIT_MS)
		return;
	log_error("'%s': its mapper is stopped again and again: replaced",
	    s->map->spec);
	mapper_drain(m, drain_timeout);
}

/* Handles one child. Returns false if none has exited or was stopped. */
static bool
reap_child(struct readers *readers, msec drain_timeout)
{
	struct mapper_proc *m = mapper_list();
	int status;
	pid_t pid = waitpid(-1, &status, WNOHANG | WUNTRACED);

	if (pid <= 0)
		return false;
	while (m && m->pid != pid)
		m = m->next;
	if (WIFSTOPPED(status)) {
		kill(pid, SIGCONT);
		if (m)
			mapper_stopped(m, status, drain_timeout);
	} else if (m) {
		mapper_exited(m, status);
	} else {
		readers_exited(readers, pid, status);
	}
	return true;
}

/*
 * Handles REAP_MAX children at most, and raises SIGCHLD for the others, so that
 * children that are stopped again and again do not keep the server from its
 * other events.
 */
void
reap_children(struct readers *readers, msec drain_timeout)
{
	struct mapper_proc *m, *next;
	int n = 0;

	while (n < REAP_MAX && reap_child(readers, drain_timeout))
		n++;
	if (n == REAP_MAX)
		raise(SIGCHLD);
	for (m = mapper_list(); m; m = next) {
		next = m->next;
		if (m->exited && !has_orphans(m))
			mapper_remove(m);
	}
}
