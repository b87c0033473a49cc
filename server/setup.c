/* Sets up the descriptors, limits and signals of the server process. */

#include <limits.h>
#include <signal.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include "base/array.h"
#include "base/fd.h"
#include "base/log.h"
#include "base/sandbox.h"
#include "config/config.h"
#include "config/map.h"
#include "netns.h"
#include "server/setup.h"
#include "server/systemd.h"
#include "server/upgrade.h"

#define NOFILE_MAX 1048576 /* the default of fs.nr_open */

int
setup_close_inherited(const struct config *conf, const struct map *stats,
    int n_left)
{
	int n_adopted = systemd_fd_count();
	size_t n = 2 * conf->n_maps + 2 + n_adopted + n_left;
	int *keep = calloc(n, sizeof(*keep));

	if (!keep)
		return -1;
	upgrade_fds(keep);
	n = n_left;
	keep[n++] = conf->ready_fd;
	if (stats->listen_ns.kind == NS_FD)
		keep[n++] = stats->listen_ns.number;
	while (n_adopted)
		keep[n++] = STDERR_FILENO + n_adopted--;
	for (size_t i = 0; i < conf->n_maps; i++) {
		if (conf->maps[i].listen_ns.kind == NS_FD)
			keep[n++] = conf->maps[i].listen_ns.number;
		if (conf->maps[i].target_ns.kind == NS_FD)
			keep[n++] = conf->maps[i].target_ns.number;
	}
	fd_close_except(keep, n, INT_MAX);
	free(keep);
	return 0;
}

void
setup_raise_limits(void)
{
	struct rlimit limit;

	if (getrlimit(RLIMIT_NOFILE, &limit) == -1)
		return;
	limit.rlim_cur =
	    limit.rlim_max < NOFILE_MAX ? limit.rlim_max : NOFILE_MAX;
	setrlimit(RLIMIT_NOFILE, &limit);
}

/* Leaves out HUP and INT if nohup(1) or "&" of a shell has ignored them. */
int
setup_signalfd(void)
{
	static const int always[] = {SIGTERM, SIGCHLD, SIGUSR1};
	static const int unless_ignored[] = {SIGINT, SIGHUP};
	struct sigaction old;
	sigset_t set;

	sigemptyset(&set);
	for (size_t i = 0; i < ARRAY_LEN(always); i++)
		sigaddset(&set, always[i]);
	for (size_t i = 0; i < ARRAY_LEN(unless_ignored); i++)
		if (sigaction(unless_ignored[i], NULL, &old) == 0 &&
		    old.sa_handler != SIG_IGN)
			sigaddset(&set, unless_ignored[i]);
	if (sigprocmask(SIG_SETMASK, &set, NULL) == -1)
		return -1;
	return signalfd(-1, &set, SFD_CLOEXEC);
}

void
setup_log(const struct config *conf, bool waits)
{
#ifdef NO_SECCOMP
	log_info("built for tests: no filters of system calls");
#endif
	if (conf->own_user && geteuid() == 0) {
		if (sandbox_can_become(&conf->owner_cred))
			log_info("--user: %s, by default", conf->own_user);
		else
			log_info(
			    "--user: root, because mappers cannot become %s",
			    conf->own_user);
	}
	if (conf->no_sandbox)
		log_info("--no-sandbox: no filters of system calls");
	if (conf->pin && waits)
		log_info("--pin: privileges are kept until nothing waits");
}
