/* Dials each target of all maps once, for --test. */

/*
 * Theory of operation
 *
 * Each target is dialed by a child process, which has the rights of a
 * connection, and leaves the result in memory that it shares with its parent.
 * Over UDP a target need not answer, so the child only looks for a route.
 */

#include <errno.h>
#include <signal.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/types.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tcp/trial.h"

#include "base/addr.h"
#include "base/advice.h"
#include "base/clock.h"
#include "base/errname.h"
#include "base/io.h"
#include "base/log.h"
#include "base/memory.h"
#include "base/report.h"
#include "base/sandbox.h"
#include "base/secret.h"
#include "config/absent.h"
#include "config/config.h"
#include "config/endpoint.h"
#include "config/map.h"
#include "dial/attempt.h"
#include "dial/conn.h"
#include "dial/dial.h"
#include "dial/resolve.h"
#include "dial/why.h"
#include "dns/result.h"
#include "netns.h"
#include "tcp/stdio.h"

/* The result of dialing a target, in memory that parent and child share. */
struct trial {
	struct conn_report report;
	bool entered; /* the child has entered the target namespace */
	int error;    /* errno; 0: the target could be reached */
	msec span;
};

/*
 * Connects a UDP socket to the target, which fails without a route. Sends
 * nothing. Returns -1 with errno.
 */
static int
find_route(const struct conn *conn)
{
	const struct io limits = {.abort_fd = -1, .deadline = conn->deadline};
	const struct map *map = conn->map;
	const struct endpoint *ep = map->targets;
	struct dns_addr resolved[RESOLVE_MAX];
	struct target_addr to;
	int fd;

	if (ep->kind != EP_HOST && literal_addr(&to, ep, 0, 0) == -1)
		return -1;
	if (ep->kind == EP_HOST) {
		if (!resolve_host(resolved, ep->name, &limits, conn->report))
			return -1;
		resolve_sockaddr(&to, resolved, ep->port_first);
	}
	fd = socket(to.addr.ss_family, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	if (fd == -1)
		return -1;
	return set_source_options(fd, map, to.addr.ss_family) == -1
	    ? -1
	    : connect(fd, (const void *)&to.addr, to.length);
}

static _Noreturn void
trial_main(const struct config *conf, const struct map *map, struct trial *t,
    pid_t parent)
{
	struct conn conn = {
	    .map = map,
	    .client = -1,
	    .udp_answer = -1,
	    .report = &t->report,
	};
	int target_error = 0, result, root[2];
	msec began;

	t->error = ECANCELED;
	t->entered = ns_enter(&map->target_ns, root) == 0;
	if (!t->entered || resolver_open(map, root) == -1 ||
	    stdio_confine(conf, map, parent) == -1) {
		t->error = errno;
		_exit(1);
	}
	began = now_ms();
	conn.deadline = deadline_after(began, map->times.connect);
	result = map_client_chooses(map) ? 0
	    : map->proto == PROTO_UDP    ? find_route(&conn)
					 : dial(&conn, &target_error);
	t->error = result == -1 ? errno : 0;
	t->span = now_ms() - began;
	_exit(0);
}

/* Prints the line of a target. Returns true if it could be reached. */
static bool
print_trial(const struct map *map, struct trial *t, int status)
{
	char advice[ADVICE_SIZE], absent[ABSENT_SIZE];
	const char *why = NULL;

	printf("%s: %s%s%s: ", map->spec, why_host(map->targets),
	    map->targets->arg, map->proto == PROTO_UDP ? "/udp" : "");
	if (WIFSIGNALED(status))
		t->error = ECANCELED;
	if (t->error && !t->entered) {
		ns_id(&map->target_ns); /* the child has looked, not this one */
		why = ns_is_missing(t->error)
		    ? absent_hint(absent, &map->target_ns, t->error)
		    : ns_hint(&map->target_ns, t->error);
		printf("cannot enter namespace '%s' (%s)\n",
		    ns_spec(&map->target_ns), why ? why : errno_name(t->error));
	} else if (t->error) {
		why = dial_why(advice, map, &t->report, t->error);
		printf("%s%s%s%s\n", errno_name(t->error), why ? " (" : "",
		    why ? why : "", why ? ")" : "");
	} else if (map_client_chooses(map)) {
		puts("ok, its namespace can be entered");
	} else if (map->proto == PROTO_UDP) {
		puts("ok, there is a route (nobody was asked)");
	} else {
		printf("ok, %lld ms\n", (long long)t->span);
	}
	fflush(stdout);
	return !t->error;
}

/* Dials the first target of a map. Returns true if it could be reached. */
static bool
run_trial(const struct config *conf, const struct map *map, struct trial *t)
{
	pid_t parent = getpid(), pid;
	int status = 0;

	memset(t, 0, sizeof(*t));
	pid = map_inherit_secrets(map, true) == -1 ? -1 : fork();
	if (pid == 0)
		trial_main(conf, map, t, parent);
	if (pid == -1)
		t->error = errno;
	map_inherit_secrets(map, false);
	while (pid != -1 && waitpid(pid, &status, 0) == -1 && errno == EINTR)
		;
	return print_trial(map, t, status);
}

/*
 * Dials each target of a map for one of its protocols, in a copy of the map
 * that has no other target. Where clients choose the target, the first hop is
 * dialled. Returns true if all could be reached.
 */
static bool
run_trials(const struct config *conf, const struct map *map, unsigned proto,
    struct trial *t)
{
	const bool hop_only = map_client_chooses(map) && map->n_hops;
	struct endpoint *targets = hop_only ? &map->hops->ep : map->targets;
	struct map single = *map;
	bool good = true;

	single.proto = proto;
	single.n_targets = 1;
	if (hop_only)
		single.n_hops = 0;
	for (size_t i = 0; i < map->n_targets && map->proto & proto; i++) {
		single.targets = &targets[i];
		good &= run_trial(conf, &single, t);
	}
	return good;
}

int
trial_run(const struct config *conf)
{
	struct trial *t = memory_map(NULL, 1, sizeof(*t), MAP_SHARED);
	bool good = true;

	sandbox_no_ptrace();
	if (!t || secrets_hide() == -1 || sandbox_limit_caps() == -1) {
		log_error("%s", errno_name(errno));
		return 1;
	}
	for (size_t i = 0; i < conf->n_maps; i++) {
		good &= run_trials(conf, &conf->maps[i], PROTO_TCP, t);
		good &= run_trials(conf, &conf->maps[i], PROTO_UDP, t);
	}
	return good && !ferror(stdout) ? 0 : 1;
}
