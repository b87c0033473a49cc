/* Turns a process that the server has forked into a mapper. */

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stddef.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/errname.h"
#include "base/fd.h"
#include "base/log.h"
#include "base/proctitle.h"
#include "base/report.h"
#include "base/sandbox.h"
#include "base/seccomp.h"
#include "config/config.h"
#include "config/endpoint.h"
#include "config/map.h"
#include "dial/attempt.h"
#include "dial/resolve.h"
#include "mapper/command.h"
#include "mapper/mapper.h"
#include "mapper/scoreboard.h"
#include "mapper/target_state.h"
#include "netns.h"
#include "server/bind.h"
#include "server/listen.h"
#include "server/mapper_main.h"
#include "server/opener.h"
#include "server/service.h"
#include "tcp/fork.h"
#include "tcp/kept.h"
#include "tcp/pool.h"
#include "udp/udp.h"

static int
close_server_fds(const struct listeners *set, const struct mapper_args *args)
{
	size_t count = set->count;
	int *keep = calloc(count + 2 + RESOLVER_FDS, sizeof(*keep));

	if (!keep)
		return -1;
	for (size_t i = 0; i < count; i++)
		keep[i] = set->items[i].fd;
	keep[count++] = args->channel;
	if (args->udp_channel != -1)
		keep[count++] = args->udp_channel;
	count += resolver_fds(keep + count);
	fd_close_except(keep, count, INT_MAX);
	free(keep);
	return 0;
}

static unsigned
sandbox_flags_of(const struct service *s)
{
	const struct map *map = s->map;
	unsigned flags =
	    s->proto == PROTO_UDP ? SANDBOX_UDP : SANDBOX_TCP | SANDBOX_FORK;

	if (map->workers && s->proto == PROTO_TCP)
		flags |= SANDBOX_MAY_NARROW |
		    (map_has_handshake(map) ? SANDBOX_HANDOVER : SANDBOX_POOL);

	for (size_t i = 0; i < map->n_targets + map->n_hops; i++) {
		const struct endpoint *ep = i < map->n_targets
		    ? &map->targets[i]
		    : &map->hops[i - map->n_targets].ep;

		if (ep->kind == EP_UNIX_PATH || ep->kind == EP_UNIX_ABSTRACT ||
		    ep->zone)
			flags |= SANDBOX_UNIX;
	}
	if (map_has_names(map))
		flags |= SANDBOX_NAMES | SANDBOX_MAY_NARROW;
	if (map->targets->kind == EP_PROXY)
		flags |= SANDBOX_PROXY | SANDBOX_MAY_NARROW;
	if (map_offers_udp(map))
		flags |= SANDBOX_HANDOVER;
	if (map->n_hops || map->accept_proxy.count)
		flags |= SANDBOX_MAY_NARROW;
	if (map->src.kind == EP_IPV4 || map->src.kind == EP_IPV6)
		flags |= SANDBOX_BIND;
	if (map->dev)
		flags |= SANDBOX_DEVICE;
	return flags;
}

/* Logs a failure other than of ns_enter(). Returns -1 with ECANCELED. */
static int
setup_failed(const struct service *s, const char *action, const char *advice)
{
	log_error("'%s': cannot %s: %s%s", s->map->spec, action,
	    errno_name(errno), advice);
	errno = ECANCELED;
	return -1;
}

static int
init_protocol(const struct service *s, const struct mapper_args *args)
{
	if (s->proto == PROTO_UDP)
		return udp_init(args);
	if (!s->map->workers)
		return fork_init(args);
	return map_has_handshake(s->map) ? kept_init(args) : pool_init(args);
}

/* Starts the opener, which must not have the scoreboard. */
static int
start_opener(const struct map *map, const struct cred *cred,
    struct mapper_args *args)
{
	if (scoreboard_hide(args->scoreboard) == -1)
		return -1;
	args->udp_channel =
	    opener_spawn(map, cred, args->role != 0, &args->opener);
	return args->udp_channel == -1 ? -1 : 0;
}

/*
 * Occupies the descriptor that becomes the client's in a connection, so that
 * the mapper opens no other socket there.
 */
static int
reserve_client_fd(void)
{
	int fd = fcntl(STDIN_FILENO, F_DUPFD_CLOEXEC, SANDBOX_CLIENT_FD);

	if (fd > SANDBOX_CLIENT_FD)
		close(fd);
	return fd == -1 ? -1 : 0;
}

/*
 * Enters the target namespace, keeps the descriptors of the mapper alone, and
 * makes 0 and 1 lead to /dev/null: in a connection, 2 does, too. Returns -1
 * with errno.
 */
static int
enter_and_keep_fds(const struct service *s, const struct cred *cred,
    struct mapper_args *args)
{
	int null = open("/dev/null", O_RDWR | O_CLOEXEC), root[2];

	if (null == -1)
		return setup_failed(s, "open /dev/null", "");
	if (dup2(null, STDIN_FILENO) == -1 || dup2(null, STDOUT_FILENO) == -1)
		return -1;
	if (s->proto == PROTO_TCP && map_offers_udp(s->map) &&
	    start_opener(s->map, cred, args) == -1)
		return setup_failed(s, "start its opener", "");
	if (ns_enter(&s->map->target_ns, root) == -1)
		return -1;
	if (resolver_open(s->map, root) == -1)
		return setup_failed(s, "open /etc", "");
	return close_server_fds(&s->listeners, args) == -1
	    ? -1
	    : reserve_client_fd();
}

/*
 * Shows the targets as down if the interface of dev=, or the address of src=,
 * is not there, which --wait allows. Targets that clients choose have no state.
 */
static void
note_absent_source(const struct mapper_args *args)
{
	const struct map *map = args->map;
	struct conn_report report = {0};
	const int family = map->src.kind == EP_IPV6 ? AF_INET6 : AF_INET;
	const int fd = attempt_open(map, family);

	report.error = errno;
	if (fd != -1)
		close(fd);
	if (fd != -1 ||
	    (report.error != ENODEV && report.error != EADDRNOTAVAIL))
		return;
	scoreboard_set_error(&args->state->error, &report);
	if (!map_client_chooses(map))
		targets_set_down(&args->state->targets, map, now_ms());
}

/* Prepares the mapper. Drops privileges before the network is read. */
static int
mapper_setup(const struct service *s, const struct config *conf,
    struct mapper_args *args)
{
	const struct map *map = s->map;
	const struct cred *cred =
	    map->run_as ? &map->run_cred : &conf->owner_cred;

	proctitle_set("map", " ", map->spec);
	log_close_stderr(); /* because the descriptor number is reused below */
	if (enter_and_keep_fds(s, cred, args) == -1 ||
	    map_take_secrets(&conf->maps[map - conf->maps]) == -1)
		return -1;
	if (sandbox_drop_privileges(cred, map->mark ? KEEP_MARK : KEEP_NONE) ==
	    -1)
		return setup_failed(s, "drop privileges",
		    errno == EPERM ? " (--user and user= need root)"
				   : " (see --user)");
	if (init_protocol(s, args) == -1 ||
	    scoreboard_confine(args->scoreboard, args->slot,
		s->proto == PROTO_TCP) == -1)
		return -1;
	if (map->dev || map->src.kind != EP_ANY)
		note_absent_source(args);
	if (args->role)
		resolver_limit_files(args->role);
	if (args->role && sandbox_seccomp(args->role) == -1)
		return setup_failed(s, "filter system calls",
		    " (--no-sandbox does without)");
	resolver_check();
	return 0;
}

/*
 * Makes the mapper the leader of a process group, so that the server can signal
 * the mapper and its connections together. Blocks SIGTTOU, because a background
 * group that logs to a terminal would be stopped; and the signal that ends
 * connections and workers.
 */
static void
lead_process_group(void)
{
	sigset_t blocked;

	setpgid(0, 0);
	sigemptyset(&blocked);
	sigaddset(&blocked, SIGTTOU);
	sigaddset(&blocked, CHILD_KILL_SIGNAL);
	sigprocmask(SIG_BLOCK, &blocked, NULL);
}

_Noreturn void
mapper_main(const struct service *s, const struct config *conf,
    struct scoreboard *scoreboard, size_t slot, int channel)
{
	struct mapper_args args = {
	    .map = s->map,
	    .listeners = s->listeners.items,
	    .n_listeners = s->listeners.count,
	    .udp_channel = -1,
	    .channel = channel,
	    .scoreboard = scoreboard,
	    .slot = slot,
	    .live = &scoreboard_counts(scoreboard, slot)->live,
	    .count = scoreboard_counts(scoreboard, slot)->count,
	    .state = &scoreboard_counts(scoreboard, slot)->state,
	    .max_open = scoreboard->max_open[slot],
	    .max_conns = conf->max_conns,
	    .role = conf->no_sandbox ? 0 : sandbox_flags_of(s),
	};
	int error;

	lead_process_group();
	error = mapper_setup(s, conf, &args) == -1 ? errno : 0;
	if (mapper_send_reply(channel, error) == -1 || error)
		_exit(1);
	log_with_time();
	if (s->proto == PROTO_UDP)
		udp_run();
	if (s->map->workers && map_has_handshake(s->map))
		kept_run();
	if (s->map->workers)
		pool_run();
	fork_run();
}
