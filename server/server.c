/* The server: listeners and mappers, their replacement and end. */

/*
 * Theory of operation
 *
 * A service is a map and one of its protocols. Its listeners are opened by a
 * helper in the source namespace and stay the server's: a mapper inherits them
 * by fork and enters the destination namespace for good, while the server
 * never moves.
 *
 * Whatever makes a mapper wrong (it died, a namespace is another one now) is
 * mended by one move: retire it, open the listeners if they have to be others,
 * give birth to a new one. Clients wait in the backlog meanwhile. What cannot
 * be mended yet is tried again. A new configuration is the same move for more
 * than one service at a time, see change.c.
 *
 * Namespaces with a name are mounts: the kernel says when one comes or goes.
 * The others are looked at once a second, as are the file of a UNIX listener and
 * the interface of a link-local one. An epoll tells of TCP listeners that the
 * owner of their namespace has destroyed: they are revived.
 */

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/stat.h>
#include <sys/types.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/errname.h"
#include "base/fd.h"
#include "base/log.h"
#include "base/sandbox.h"
#include "config/config.h"
#include "config/endpoint.h"
#include "config/map.h"
#include "mapper/mapper.h"
#include "netns.h"
#include "server/apply.h"
#include "server/daemon.h"
#include "server/listen.h"
#include "server/listen_check.h"
#include "server/mapper_proc.h"
#include "server/server.h"
#include "server/service.h"
#include "server/stats.h"

#define RETRY_MS          1000 /* between two looks, or attempts for one service */
#define NS_SETTLE_MS      100  /* for what else is mounted at the same time */
#define KILL_MS           1000 /* for a mapper to reset its connections */
#define STOPS_MAX         10   /* of one mapper, before it is replaced */
#define REPLACE_MS        2000 /* between two such replacements of a service */
#define REAP_MAX          256  /* children in one turn */
#define STATS_CLIENTS_MAX 8    /* of metrics, at a time */
#define NOFILE_MAX        1048576 /* the kernel's own limit, fs.nr_open */
#define COUNTS_TEXT_MAX   96      /* room for the words of format_counts() */
#define EVENTS            64

static struct server {
	struct config *conf;
	struct services list;
	struct map stats_map; /* the socket for metrics, as if it were one */
	struct listeners stats;
	int stats_errno; /* why it has no socket, an errno that was logged */
	pid_t stats_pids[STATS_CLIENTS_MAX]; /* 0: none */
	int signal_fd, mountinfo_fd;
	int destroyed_epoll; /* epoll: of listeners that `ss -K` has destroyed */
	msec ns_checked_at;  /* at the namespaces */
	size_t serving;      /* maps, as the service manager was told last */
	bool check_ns, pinned, stopping;
} server;

/* How many maps have all their mappers. A map's services are neighbours. */
static size_t
count_serving(void)
{
	const struct service *s = server.list.items;
	const struct map *waits = NULL;
	size_t n = server.conf->n_maps;

	for (size_t i = 0; i < server.list.count; i++)
		if (!s[i].mapper && s[i].map != waits) {
			waits = s[i].map;
			n--;
		}
	return n;
}

/* The same in words, "2 maps" or "1 of 2 maps, 1 waits". */
static const char *
format_counts(char *text, size_t size)
{
	size_t all = server.conf->n_maps, n = count_serving();

	if (n == all)
		snprintf(text, size, "%zu %s", n, n == 1 ? "map" : "maps");
	else
		snprintf(text, size, "%zu of %zu %s, %zu %s", n, all,
		    all == 1 ? "map" : "maps", all - n,
		    all - n == 1 ? "waits" : "wait");
	return text;
}

static void
notify_status(const char *before)
{
	char text[COUNTS_TEXT_MAX];

	server.serving = count_serving();
	sd_notify_send("%sSTATUS=%s\n", before,
	    format_counts(text, sizeof(text)));
}

/* It is the owner's alone: a umask of its own makes it so. */
static int
open_stats(bool waits)
{
	int entered = 0, result;
	mode_t old = umask(077);

	result = listen_open(&server.stats, &server.stats_map, PROTO_TCP,
	    &entered, server.stats_errno, waits);
	umask(old);
	if (result == 0) {
		server.stats_errno = 0;
		return 0;
	}
	if (!entered)
		log_error("--stats: %s", strerror(errno));
	server.stats_errno = errno;
	listen_close(&server.stats, &server.stats_map);
	return -1;
}

static void
follow_stats(void)
{
	const char *replaced = NULL;

	if (server.stats.count)
		replaced = listen_changed(&server.stats, &server.stats_map);
	if (replaced) {
		log_error("--stats: %s: listens anew", replaced);
		listen_close(&server.stats, &server.stats_map);
	}
	if (!server.stats.count)
		open_stats(true);
}

/* Looks at what the services depend on, and at what --stats does. */
static void
check_namespaces(void)
{
	server.ns_checked_at = now_ms();
	server.check_ns = false;
	if (server.conf->stats)
		follow_stats();
	for (size_t i = 0; i < server.list.count; i++)
		service_check_ns(&server.list.items[i], server.conf);
}

/*
 * When to look: soon after a mount; each second where nothing tells of a change.
 * Always later than the last look.
 */
static msec
check_due_at(void)
{
	if (server.pinned)
		return NEVER;
	if (server.check_ns)
		return server.ns_checked_at + NS_SETTLE_MS;
	if (server.conf->stats)
		return server.ns_checked_at + RETRY_MS;
	for (size_t i = 0; i < server.list.count; i++)
		if (!server.list.items[i].mapper ||
		    server.list.items[i].poll_ns)
			return server.ns_checked_at + RETRY_MS;
	return NEVER;
}

/* Returns when to look or to try again, or NEVER. */
static msec
retry_services(void)
{
	msec at = now_ms(), next = NEVER;

	if (at >= check_due_at())
		check_namespaces();
	for (size_t i = 0; i < server.list.count; i++) {
		struct service *s = &server.list.items[i];
		bool lacks = !s->mapper || s->lost;

		if (lacks && at >= s->last_attempt + RETRY_MS) {
			service_retry(s, server.conf);
			lacks = !s->mapper || s->lost;
		}
		if (lacks)
			next = msec_min(next, s->last_attempt + RETRY_MS);
		if (s->listeners_ns && !s->watched &&
		    service_watch(s, server.destroyed_epoll) == -1)
			log_error("'%s': its listeners are not watched: %s",
			    s->map->spec, errno_name(errno));
	}
	if (server.serving != count_serving())
		notify_status("");
	return msec_min(next, check_due_at());
}

/* Sees to it that what is retired ends; returns when to do so again. */
static msec
kill_overdue(void)
{
	msec next = NEVER, at = now_ms();

	for (struct mapper_proc *m = mapper_list(); m; m = m->next) {
		if (at >= m->kill_at) {
			if (m->killed || m->exited)
				mapper_kill(m);
			mapper_send_command(m, CMD_KILL);
			m->killed = true;
			m->kill_at = at + KILL_MS;
		}
		next = msec_min(next, m->kill_at);
	}
	return next;
}

static void
say_ready(void)
{
	char text[64];

	snprintf(text, sizeof(text), "READY=1\nMAINPID=%d\n", (int)getpid());
	notify_status(text);
}

/* Looks and tries now, as whoever asks for a reload expects. */
static void
retry_now(void)
{
	server.check_ns = !server.pinned;
	server.ns_checked_at = 0;
	for (size_t i = 0; i < server.list.count; i++)
		if (!server.list.items[i].mapper)
			server.list.items[i].last_attempt = 0;
	retry_services();
}

static void
reload(void)
{
	char text[COUNTS_TEXT_MAX];
	struct config fresh;

	/* Rounded up: not before the request. */
	sd_notify_send("RELOADING=1\nMONOTONIC_USEC=%lld\n",
	    (long long)now_ms() * 1000 + 999);
	if (config_reread(server.conf, &fresh) == -1) {
		log_error("not reloaded: everything is as it was");
	} else if (apply_config(&server.list, &fresh)) {
		log_error("not reloaded: everything is as it was");
		config_free_maps(&fresh);
	} else {
		config_free_maps(server.conf);
		server.conf->maps = fresh.maps;
		server.conf->n_maps = fresh.n_maps;
		retry_now();
		log_info("reloaded: %s", format_counts(text, sizeof(text)));
	}
	say_ready();
}

/* The end. */

static uint64_t
count_connections(void)
{
	uint64_t sum = 0;

	for (struct mapper_proc *m = mapper_list(); m; m = m->next)
		if (!m->service || m->service->proto == PROTO_TCP)
			sum += mapper_count(m, COUNT_OPEN);
	return sum;
}

/* The first time to drain, the second time to end. */
static void
drain_or_kill(void)
{
	for (struct mapper_proc *m = mapper_list(); m; m = m->next) {
		if (server.stopping)
			m->kill_at = now_ms();
		mapper_drain(m, server.conf->drain_timeout);
	}
	if (server.stopping)
		return;
	server.stopping = true;
	sd_notify_send("STOPPING=1\n");
	for (size_t i = 0; i < server.list.count; i++)
		service_close(&server.list.items[i]);
	/* Another server may take over while this one drains. */
	listen_close(&server.stats, &server.stats_map);
	pidfile_remove();
	if (count_connections())
		log_info("stopping: %llu connections have %lld s to finish",
		    (unsigned long long)count_connections(),
		    (long long)server.conf->drain_timeout / 1000);
}

/* Events. */

/*
 * True if connections of a mapper that has ended live on. As long as the server
 * has not reaped the last of them, no other process group has that number.
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
	mapper_keep_orphans(m);
}

/*
 * Nobody but the server says when a mapper is to stop. One that is stopped again
 * and again is replaced, but not sooner than another one can be had.
 */
static void
continue_stopped(struct mapper_proc *m, int status)
{
	const struct service *s = m->service;

	log_ratelimited("'%s': its mapper was stopped by signal %d: continued",
	    s ? s->map->spec : "", WSTOPSIG(status));
	if (++m->n_stops < STOPS_MAX || m->draining || !s ||
	    now_ms() - s->last_attempt < REPLACE_MS)
		return;
	log_error("'%s': its mapper is stopped again and again: replaced",
	    s->map->spec);
	mapper_drain(m, server.conf->drain_timeout);
}

/* A reader of metrics or a connection of a mapper that has ended. */
static void
reap_helper(pid_t pid)
{
	for (int i = 0; i < STATS_CLIENTS_MAX; i++)
		if (server.stats_pids[i] == pid)
			server.stats_pids[i] = 0;
}

/* Hears of a child that has ended or was stopped: false if there is none. */
static bool
reap_one(void)
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
			continue_stopped(m, status);
	} else if (m) {
		mapper_exited(m, status);
	} else {
		reap_helper(pid);
	}
	return true;
}

/* In turns: who stops them again and again is not to hold up the server. */
static void
reap(void)
{
	struct mapper_proc *m, *next;
	int n = 0;

	while (n < REAP_MAX && reap_one())
		n++;
	if (n == REAP_MAX)
		raise(SIGCHLD);
	for (m = mapper_list(); m; m = next) {
		next = m->next;
		if (m->exited && !has_orphans(m))
			mapper_remove(m);
	}
}

/* A place for one more reader of metrics, or NULL. */
static pid_t *
free_stats_slot(void)
{
	for (int i = 0; i < STATS_CLIENTS_MAX; i++)
		if (!server.stats_pids[i])
			return &server.stats_pids[i];
	return NULL;
}

static void
handle_signal(void)
{
	struct signalfd_siginfo info;

	if (read(server.signal_fd, &info, sizeof(info)) != sizeof(info))
		return;
	if (info.ssi_signo == SIGCHLD)
		reap();
	else if (info.ssi_signo == SIGUSR1)
		stats_log_table(&server.list, server.signal_fd);
	else if (info.ssi_signo != SIGHUP)
		drain_or_kill();
	else if (!server.stopping)
		reload();
}

/* For poll(2); no time that can be given is longer than its int. */
static int
ms_until(msec next)
{
	msec left = next - now_ms();

	return next == NEVER ? -1 : left < 0 ? 0 : (int)left;
}

/*
 * Edge-triggered: one that cannot be mended is told of once. The descriptor may be
 * another one's by now, or what it is of may have been mended.
 */
static void
handle_destroyed_listeners(void)
{
	struct epoll_event ev[EVENTS];
	int n = epoll_wait(server.destroyed_epoll, ev, EVENTS, 0);

	for (int k = 0; k < n; k++)
		for (size_t i = 0; i < server.list.count; i++) {
			struct service *s = &server.list.items[i];

			if (s->proto == PROTO_TCP && !s->lost &&
			    service_has(s, ev[k].data.fd))
				s->lost = !listen_accepts(ev[k].data.fd);
		}
}

static void
server_loop_once(msec next)
{
	struct pollfd watched[] = {
	    {.fd = server.signal_fd, .events = POLLIN},
	    {.fd = server.stopping ? -1 : server.mountinfo_fd,
		.events = POLLPRI},
	    {.fd = server.stopping ? -1 : server.destroyed_epoll,
		.events = POLLIN},
	    {.fd = -1, .events = POLLIN},
	};
	pid_t *reader = free_stats_slot();

	if (server.stats.count && reader)
		watched[3].fd = server.stats.items->fd;
	poll(watched, 4, ms_until(next));
	if (watched[0].revents)
		handle_signal();
	if (watched[1].revents)
		server.check_ns = true;
	if (watched[2].revents)
		handle_destroyed_listeners();
	if (watched[3].revents && reader && server.stats.count)
		*reader = stats_serve(watched[3].fd, &server.list,
		    &server.conf->owner_cred);
}

/*
 * With --pin the server gives up its rights as soon as every map serves, because
 * then it needs none; a map that waits does. -1, logged.
 */
static int
drop_for_pin(void)
{
	if (!server.conf->pin || server.pinned ||
	    count_serving() < server.conf->n_maps)
		return 0;
	log_info("--pin: no mapper or namespace that goes can be followed");
	server.pinned = true;
	server.check_ns = false;
	close(server.mountinfo_fd);
	server.mountinfo_fd = -1;
	if (sandbox_drop_privileges(&server.conf->owner_cred, false) == 0)
		return 0;
	log_error("--pin: cannot drop privileges: %s", errno_name(errno));
	return -1;
}

/* Returns the exit status. */
static int
server_loop(void)
{
	msec next;

	server.check_ns = !server.pinned;
	for (;;) {
		next = msec_min(server.stopping ? NEVER : retry_services(),
		    kill_overdue());
		if (server.stopping && !mapper_list())
			return 0;
		if (!server.stopping && drop_for_pin() == -1)
			return 1;
		server_loop_once(next);
	}
}

/* The start. */

/* As many descriptors as we may have: clients wait for less. */
static void
raise_limits(void)
{
	struct rlimit limit;

	if (getrlimit(RLIMIT_NOFILE, &limit) == -1)
		return;
	limit.rlim_cur =
	    limit.rlim_max < NOFILE_MAX ? limit.rlim_max : NOFILE_MAX;
	setrlimit(RLIMIT_NOFILE, &limit);
}

/*
 * Blocked for good, and inherited so, whatever we inherited ourselves: a ^C at
 * the terminal reaches all, and only the server may say what becomes of the
 * connections. What nohup(1) or a shell's "&" has us ignore stays ignored.
 */
static int
open_signals(void)
{
	static const int wanted[] = {SIGTERM, SIGCHLD, SIGUSR1, SIGINT, SIGHUP};
	struct sigaction old;
	sigset_t set;

	sigemptyset(&set);
	for (int i = 0; i < 5; i++)
		if (sigaction(wanted[i], NULL, &old) == 0 &&
		    (old.sa_handler != SIG_IGN || i < 3))
			sigaddset(&set, wanted[i]);
	if (sigprocmask(SIG_SETMASK, &set, NULL) == -1)
		return -1;
	server.signal_fd = signalfd(-1, &set, SFD_CLOEXEC);
	return server.signal_fd == -1 ? -1 : 0;
}

/*
 * What was left open by whoever started us is not ours to hold: a pipe's
 * reader would wait for its end. Named descriptors stay.
 */
static int
close_inherited(const struct config *conf)
{
	int handed = systemd_fd_count();
	int *keep = calloc(2 * conf->n_maps + 1 + handed, sizeof(*keep));
	size_t n = 0;

	if (!keep)
		return -1;
	keep[n++] = conf->ready_fd;
	while (handed)
		keep[n++] = STDERR_FILENO + handed--;
	for (size_t i = 0; i < conf->n_maps; i++) {
		if (conf->maps[i].listen_ns.kind == NS_FD)
			keep[n++] = conf->maps[i].listen_ns.number;
		if (conf->maps[i].target_ns.kind == NS_FD)
			keep[n++] = conf->maps[i].target_ns.number;
	}
	fd_close_except(keep, n);
	free(keep);
	return 0;
}

static int
name_stats(const char *path)
{
	struct map *map = &server.stats_map;

	*map = (struct map){.spec = strdup("--stats"),
	    .listen = {.kind = EP_UNIX_PATH, .name = strdup(path)}};
	return map->spec && map->listen.name ? 0 : -1;
}

static int
server_init(struct config *conf)
{
	sandbox_no_ptrace();
	server.conf = conf;
	if (close_inherited(conf) == -1 ||
	    (conf->daemonize && daemonize() == -1) ||
	    log_open(conf->syslog || conf->daemonize) == -1 ||
	    open_signals() == -1 || scoreboard_init() == -1 ||
	    (server.destroyed_epoll = epoll_create1(EPOLL_CLOEXEC)) == -1 ||
	    (conf->stats && name_stats(conf->stats) == -1) ||
	    sandbox_adopt() == -1 || sandbox_limit_caps() == -1) {
		log_error("%s", strerror(errno));
		return 1;
	}
	/* While its socket may be reached: --pin takes rights away. */
	sd_notify_send("STATUS=starting\n");
	raise_limits();
	server.mountinfo_fd =
	    open("/proc/self/mountinfo", O_RDONLY | O_CLOEXEC);
	if (conf->pidfile && pidfile_create(conf->pidfile) == -1)
		return 1;
	return conf->stats && open_stats(false) == -1;
}

/* What is in force, where it is not what the user expects. */
static int
log_settings(const struct config *conf)
{
#ifdef NO_SECCOMP
	log_info("built for tests: no filters of system calls");
#endif
	if (conf->no_sandbox)
		log_info("--no-sandbox: no filters of system calls");
	if (conf->pin && count_serving() < conf->n_maps)
		log_info("--pin: privileges are kept until every map serves");
	return drop_for_pin() == -1;
}

/* The line of --ready-fd is "ready" alone where no map waits. */
static void
log_start(void)
{
	bool all = count_serving() == server.conf->n_maps;
	char text[COUNTS_TEXT_MAX], line[sizeof("ready: ") + COUNTS_TEXT_MAX];

	snprintf(line, sizeof(line), "ready: %s",
	    format_counts(text, sizeof(text)));
	log_info("%s", line);
	daemon_ready(server.conf->ready_fd, all ? "ready" : line);
	say_ready();
}

int
server_run(struct config *conf)
{
	int status = server_init(conf);

	if (!status)
		status = apply_config(&server.list, conf);
	if (!status)
		status = log_settings(conf);
	if (!status) {
		log_start();
		log_close_stderr();
		status = server_loop();
		log_info("stopped");
	}
	listen_close(&server.stats, &server.stats_map);
	map_free(&server.stats_map);
	free(server.list.items);
	pidfile_remove();
	return status;
}
