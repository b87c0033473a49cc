/* Runs the server: its event loop, start and end. */

/*
 * Theory of operation
 *
 * A service is a map and one of its protocols. A helper opens the listeners of
 * a service in the listen namespace, and the server keeps them. A mapper
 * inherits them by fork and enters the target namespace. The server itself
 * enters no namespace.
 *
 * A mapper that has exited, or that has the wrong namespaces or listeners, is
 * replaced: the old mapper drains, listeners are opened anew if need be, and a
 * new mapper starts. Clients wait in the queue of the listener meanwhile. A
 * service that could not be repaired is retried each second, or once its
 * container starts. apply.c replaces mappers and listeners in the same way, for
 * a new configuration.
 *
 * The loop polls:
 * - a signalfd: children, reload, drain, the table of USR1;
 * - /proc/self/mountinfo, because named namespaces are mounts. Other
 *   namespaces, files of UNIX listeners and interfaces are checked each second;
 * - an epoll of the TCP listeners, which reports those that `ss -K` destroys;
 * - the trackers of container/, which report processes that come and go;
 * - the sockets of --stats and --status.
 *
 * TERM or INT closes the listeners and drains all mappers; the second one kills
 * the connections. The server exits after its last mapper.
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
#include <sys/signalfd.h>
#include <unistd.h>

#include "base/array.h"
#include "base/clock.h"
#include "base/errname.h"
#include "base/log.h"
#include "base/sandbox.h"
#include "base/secret.h"
#include "config/config.h"
#include "config/map.h"
#include "container/container.h"
#include "mapper/command.h"
#include "mapper/mapper.h"
#include "mapper/scoreboard.h"
#include "server/apply.h"
#include "server/daemon.h"
#include "server/listen_check.h"
#include "server/mapper_proc.h"
#include "server/readers.h"
#include "server/reap.h"
#include "server/reread.h"
#include "server/server.h"
#include "server/service.h"
#include "server/setup.h"
#include "server/status.h"
#include "server/systemd.h"
#include "server/upgrade.h"

#define CHECK_MS       1000 /* between two checks, or retries of a service */
#define NS_SETTLE_MS   100  /* from a mount to the check: more may follow */
#define WATCHED_EVENTS 64

static struct server {
	struct config *conf;
	struct services services;
	struct readers readers;
	int signal_fd, mountinfo_fd;
	int listener_epoll; /* reports destroyed listeners */
	msec ns_checked_at;
	size_t n_serving; /* maps, in the last status to the service manager */
	bool check_ns;    /* a mount has changed */
	bool pinned;      /* --pin has given up privileges */
	bool stopping;
	msec stop_deadline; /* of waiting for mappers of the program before */
	bool upgraded;      /* mappers of the program before may run */
} server;

static size_t
count_serving(void)
{
	return status_count_serving(&server.services, server.conf->n_maps);
}

/* Checking and retrying services. */

static void
check_namespaces(void)
{
	server.ns_checked_at = now_ms();
	server.check_ns = false;
	readers_check(&server.readers);
	for (size_t i = 0; i < server.services.count; i++)
		service_check_ns(&server.services.items[i], server.conf);
}

static bool
needs_retry(const struct service *s)
{
	return (!s->mapper && !service_awaits_container(s)) || s->lost;
}

/*
 * Returns when check_namespaces() is due: soon after a mount; each second if a
 * service waits, or if no event reports what a service or --stats depends on.
 */
static msec
check_due_at(void)
{
	if (server.pinned)
		return NEVER;
	if (server.check_ns)
		return server.ns_checked_at + NS_SETTLE_MS;
	if (server.conf->stats)
		return server.ns_checked_at + CHECK_MS;
	for (size_t i = 0; i < server.services.count; i++)
		if (needs_retry(&server.services.items[i]) ||
		    server.services.items[i].poll_ns)
			return server.ns_checked_at + CHECK_MS;
	return NEVER;
}

/* Returns the time of the next retry of a service, or NEVER. */
static msec
retry_service(struct service *s)
{
	if (needs_retry(s) && now_ms() >= s->last_attempt + CHECK_MS)
		service_retry(s, server.conf);
	if (s->listeners_ns && !s->epoll &&
	    service_watch(s, server.listener_epoll) == -1)
		log_error("'%s': its listeners are not watched: %s",
		    s->map->spec, errno_name(errno));
	return needs_retry(s) ? s->last_attempt + CHECK_MS : NEVER;
}

/*
 * Checks and retries the services that are due. Returns when the next is due,
 * or NEVER.
 */
static msec
retry_services(void)
{
	msec next = NEVER;

	if (now_ms() >= check_due_at())
		check_namespaces();
	for (size_t i = 0; i < server.services.count; i++)
		next = msec_min(next, retry_service(&server.services.items[i]));
	if (server.n_serving != count_serving()) {
		server.n_serving = count_serving();
		status_notify("", &server.services, server.conf->n_maps);
	}
	return msec_min(msec_min(next, container_retry()), check_due_at());
}

/* Checks and retries all services at once. */
static void
retry_now(void)
{
	server.check_ns = !server.pinned;
	server.ns_checked_at = 0;
	for (size_t i = 0; i < server.services.count; i++)
		if (!server.services.items[i].mapper)
			server.services.items[i].last_attempt = 0;
	retry_services();
}

/*
 * Ends mappers whose drain has timed out: first with CMD_KILL, so that they log
 * their connections, then with SIGKILL. Repeats CMD_KILL, because a mapper that
 * had just accepted a client when the signal came may have forked only then.
 * Returns when to do so again, or NEVER.
 */
static msec
kill_overdue(void)
{
	msec next = NEVER, at = now_ms();

	for (struct mapper_proc *m = mapper_list(); m; m = m->next) {
		if (at >= m->kill_at) {
			if (m->n_kills++ >= KILL_TRIES || m->exited)
				mapper_kill(m);
			mapper_send_command(m, CMD_KILL);
			m->kill_at = at + KILL_MS / KILL_TRIES;
		}
		next = msec_min(next, m->kill_at);
	}
	return next;
}

/* Signals. */

static void
notify_ready(void)
{
	server.n_serving = count_serving();
	status_notify_ready(&server.services, server.conf->n_maps);
}

static void
reload(void)
{
	const struct running now = {server.conf, &server.services,
	    &server.readers, server.pinned};
	char text[STATUS_TEXT_MAX];
	struct config fresh;

	/* Rounded up, because the time must not be before the signal. */
	sd_notify_send("RELOADING=1\nMONOTONIC_USEC=%lld\n",
	    (long long)now_ms() * 1000 + 999);
	if (!server.pinned && upgrade_available())
		upgrade_run(&server.services, &server.readers, server.conf);
	else if (reread_config(&now, &fresh) == -1) {
		log_error("not reloaded: everything is as it was");
	} else if (apply_config(&server.services, &fresh)) {
		log_error("not reloaded: everything is as it was");
		config_free_maps(&fresh);
	} else {
		config_free_maps(server.conf);
		server.conf->maps = fresh.maps;
		server.conf->n_maps = fresh.n_maps;
		retry_now();
		log_info("reloaded: %s",
		    status_format(text, &server.services, server.conf->n_maps));
	}
	notify_ready();
}

static void
log_stopping(void)
{
	uint64_t n = 0;

	for (struct mapper_proc *m = mapper_list(); m; m = m->next)
		if (!m->service || m->service->proto == PROTO_TCP)
			n += mapper_count(m, COUNT_OPEN);
	if (n)
		log_info("stopping: %llu %s %lld s to finish",
		    (unsigned long long)n,
		    n == 1 ? "connection has" : "connections have",
		    (long long)server.conf->drain_timeout / 1000);
}

/*
 * Drains all mappers; the second time, kills their connections. The listeners
 * and files are given up at once, so that another server can take them.
 */
static void
drain_or_kill(void)
{
	if (server.stopping)
		server.stop_deadline = 0;
	for (struct mapper_proc *m = mapper_list(); m; m = m->next) {
		if (server.stopping)
			m->kill_at = now_ms();
		mapper_drain(m, server.conf->drain_timeout);
	}
	if (server.stopping)
		return;
	server.stopping = true;
	server.stop_deadline = now_ms() + server.conf->drain_timeout;
	sd_notify_send("STOPPING=1\n");
	for (size_t i = 0; i < server.services.count; i++)
		service_close(&server.services.items[i]);
	readers_close(&server.readers);
	container_stop();
	pidfile_remove();
	log_stopping();
}

static void
handle_signal(void)
{
	struct signalfd_siginfo info;

	if (read(server.signal_fd, &info, sizeof(info)) != sizeof(info))
		return;
	if (info.ssi_signo == SIGCHLD)
		reap_children(&server.readers, server.conf->drain_timeout);
	else if (info.ssi_signo == SIGUSR1)
		readers_log_table(&server.readers);
	else if (info.ssi_signo != SIGHUP)
		drain_or_kill();
	else if (!server.stopping)
		reload();
}

/* The loop. */

/*
 * Marks services with a destroyed listener. Checks the descriptor, because it
 * may listen again.
 */
static void
handle_destroyed_listeners(void)
{
	struct epoll_event ev[WATCHED_EVENTS];
	int n = epoll_wait(server.listener_epoll, ev, WATCHED_EVENTS, 0);

	for (int k = 0; k < n; k++)
		for (size_t i = 0; i < server.services.count; i++) {
			struct service *s = &server.services.items[i];

			if (s->proto == PROTO_TCP && !s->lost &&
			    service_has(s, ev[k].data.fd))
				s->lost = listen_state(ev[k].data.fd) == 0;
		}
}

static void
server_loop_once(msec next)
{
	struct pollfd watched[4 + READERS_FDS] = {
	    {.fd = server.signal_fd, .events = POLLIN},
	    {.fd = server.stopping ? -1 : server.mountinfo_fd,
		.events = POLLPRI},
	    {.fd = server.stopping ? -1 : server.listener_epoll,
		.events = POLLIN},
	    {.fd = container_pollfd(), .events = POLLIN},
	};

	readers_watch(&server.readers, &watched[4]);
	poll(watched, ARRAY_LEN(watched), poll_timeout(next));
	if (watched[0].revents)
		handle_signal();
	if (watched[1].revents)
		server.check_ns = true;
	if (watched[2].revents)
		handle_destroyed_listeners();
	if (container_read()) /* also reports that a reload has waited for */
		server.check_ns = true;
	readers_accept(&server.readers, &watched[4]);
}

/* Returns true if a map or --stats waits, which takes privileges to start. */
static bool
something_waits(void)
{
	return count_serving() < server.conf->n_maps ||
	    readers_wait(&server.readers);
}

/* With --pin, drops all privileges once nothing waits. Returns -1, logged. */
static int
drop_for_pin(void)
{
	if (!server.conf->pin || server.pinned || something_waits())
		return 0;
	log_info("--pin: mappers of other namespaces are not replaced, "
		 "deleted namespaces not followed");
	server.pinned = true;
	server.check_ns = false;
	close(server.mountinfo_fd);
	container_stop();
	server.mountinfo_fd = -1;
	if (sandbox_drop_privileges(&server.conf->owner_cred, KEEP_NONE) == 0)
		return 0;
	log_error("--pin: cannot drop privileges: %s", errno_name(errno));
	return -1;
}

/*
 * Returns the time until which a stopping server waits for mappers of the
 * program before an upgrade; NEVER if there are none.
 */
static msec
await_old_mappers(void)
{
	return !mapper_list() && now_ms() < server.stop_deadline &&
		upgrade_has_mappers()
	    ? server.stop_deadline
	    : NEVER;
}

/* Returns the exit status. */
static int
server_loop(void)
{
	msec next;

	server.check_ns = !server.pinned;
	if (server.upgraded) /* the start has discarded a pending SIGCHLD */
		reap_children(&server.readers, server.conf->drain_timeout);
	for (;;) {
		next = server.stopping ? await_old_mappers() : retry_services();
		if (server.stopping && next == NEVER && !mapper_list()) {
			upgrade_end_mappers();
			return 0;
		}
		next = msec_min(next, kill_overdue());
		if (!server.stopping && drop_for_pin() == -1)
			return 1;
		server_loop_once(next);
	}
}

/* Start and end. */

/* Returns the exit status. */
static int
server_init(struct config *conf)
{
	int n_left = upgrade_init();

	sandbox_no_ptrace();
	server.conf = conf;
	server.upgraded = n_left >= 0;
	if (server.upgraded) {
		conf->syslog |= conf->daemonize;
		conf->daemonize = false;
	}
	readers_init(&server.readers, &server.services, conf);
	if (setup_close_inherited(conf, &server.readers.tcp.map,
		server.upgraded ? n_left : 0) == -1 ||
	    (conf->daemonize && daemonize() == -1) || secrets_hide() == -1 ||
	    log_open(conf->syslog || conf->daemonize) == -1 ||
	    (server.signal_fd = setup_signalfd()) == -1 ||
	    scoreboard_init(conf) == -1 ||
	    (server.listener_epoll = epoll_create1(EPOLL_CLOEXEC)) == -1 ||
	    sandbox_adopt() == -1 || sandbox_limit_caps() == -1 ||
	    container_track(conf->no_sandbox) == -1) {
		log_error("%s", strerror(errno));
		return 1;
	}
	/*
	 * Opens the socket of the service manager, before --pin gives up the
	 * right to.
	 */
	sd_notify_send("STATUS=starting\n");
	setup_raise_limits();
	server.mountinfo_fd =
	    open("/proc/self/mountinfo", O_RDONLY | O_CLOEXEC);
	if (conf->pidfile && pidfile_create(conf->pidfile) == -1)
		return 1;
	return readers_open(&server.readers);
}

/* Writes the line of --ready-fd, which is "ready" alone if no map waits. */
static void
log_ready(void)
{
	size_t n = server.conf->n_maps;
	char text[STATUS_TEXT_MAX], line[sizeof("ready: ") + STATUS_TEXT_MAX];

	snprintf(line, sizeof(line), "ready: %s",
	    status_format(text, &server.services, n));
	log_info("%s", line);
	daemon_ready(server.conf->ready_fd,
	    count_serving() == n ? "ready" : line);
	notify_ready();
}

int
server_run(struct config *conf)
{
	int status = server_init(conf);

	if (!status)
		status = apply_config(&server.services, conf);
	if (!status)
		readers_open_status(&server.readers);
	upgrade_finish();
	if (!status) {
		setup_log(conf, something_waits());
		status = drop_for_pin() == -1;
	}
	if (!status) {
		log_ready();
		log_close_stderr();
		log_with_time();
		status = server_loop();
		log_left_out();
		log_info("stopped");
	}
	readers_close(&server.readers);
	free(server.services.items);
	pidfile_remove();
	return status;
}
