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
 * The others are looked at once a second.
 */

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "server.h"

#define RETRY_MS    1000    /* between two looks, or attempts for one service */
#define LOOK_MS     100     /* for what else is mounted at the same time */
#define KILL_MS     1000    /* for a mapper to reset its connections */
#define STOPS_MAX   10      /* of one mapper, before it is replaced */
#define REPLACE_MS  2000    /* between two such replacements of a service */
#define REAP_MAX    256     /* children in one turn */
#define READERS_MAX 8       /* of metrics, at a time */
#define NOFILE_MAX  1048576 /* the kernel's own limit, fs.nr_open */

static struct server {
	struct conf *conf;
	struct services list;
	struct map stats_map; /* the socket for metrics, as if it were one */
	struct listeners stats;
	pid_t reader[READERS_MAX]; /* 0: none */
	int signals, mounts;
	deadline looked; /* at the namespaces */
	bool look, stopping;
} server;

static deadline
sooner(deadline a, deadline b)
{
	return b < a ? b : a;
}

/* Returns when to look or to try again, or NEVER. */
static deadline
mend_all(void)
{
	deadline at = now(), next = NEVER, again;
	bool look = server.look && at - server.looked >= LOOK_MS;

	if (look)
		server.looked = at;
	else if (server.look)
		next = server.looked + LOOK_MS;
	server.look &= !look;
	for (size_t i = 0; i < server.list.count; i++) {
		struct service *s = &server.list.service[i];

		if (look)
			service_follow(s, server.conf);
		if (!s->mapper && at - s->tried >= RETRY_MS)
			service_mend(s, server.conf);
		again = s->tried + RETRY_MS;
		if (!s->mapper && again > at)
			next = sooner(next, again);
		else if (!s->mapper || s->silent)
			next = sooner(next, server.looked + RETRY_MS);
	}
	return next;
}

/* Sees to it that what is retired ends; returns when to do so again. */
static deadline
expire(void)
{
	deadline next = NEVER, at = now();

	for (struct child *m = mapper_first(); m; m = m->next) {
		if (at >= m->until) {
			if (m->killed || m->ended)
				mapper_kill(m);
			mapper_order(m, ORDER_KILL);
			m->killed = true;
			m->until = at + KILL_MS;
		}
		next = sooner(next, m->until);
	}
	return next;
}

static void
say_ready(void)
{
	size_t n = server.conf->maps;

	life_notify("READY=1\nMAINPID=%d\nSTATUS=%zu %s\n", (int)getpid(), n,
	    n == 1 ? "map" : "maps");
}

static void
reload(void)
{
	struct conf fresh;

	/* Rounded up: not before the request. */
	life_notify("RELOADING=1\nMONOTONIC_USEC=%lld\n",
	    (long long)now() * 1000 + 999);
	if (server.conf->read(server.conf, &fresh) == -1) {
		log_error("not reloaded: everything is as it was");
	} else if (change(&server.list, &fresh)) {
		log_error("not reloaded: everything is as it was");
		spec_free_all(&fresh);
	} else {
		spec_free_all(server.conf);
		server.look = !server.conf->pin;
		server.conf->map = fresh.map;
		server.conf->maps = fresh.maps;
		log_info("reloaded: %zu %s", fresh.maps,
		    fresh.maps == 1 ? "map" : "maps");
	}
	say_ready();
}

/* The end. */

static uint64_t
live_connections(void)
{
	uint64_t sum = 0;

	for (struct child *m = mapper_first(); m; m = m->next)
		if (!m->service || m->service->proto == PROTO_TCP)
			sum += mapper_count(m, COUNT_OPEN);
	return sum;
}

/* The first time to drain, the second time to end. */
static void
stop(void)
{
	for (struct child *m = mapper_first(); m; m = m->next) {
		if (server.stopping)
			m->until = now();
		service_retire(m, server.conf->drain);
	}
	if (server.stopping)
		return;
	server.stopping = true;
	life_notify("STOPPING=1\n");
	for (size_t i = 0; i < server.list.count; i++)
		service_close(&server.list.service[i]);
	/* Another server may take over while this one drains. */
	listen_close(&server.stats, &server.stats_map);
	life_end();
	if (live_connections())
		log_info("stopping: %llu connections have %lld s to finish",
		    (unsigned long long)live_connections(),
		    (long long)server.conf->drain / 1000);
}

/* Events. */

/*
 * True if connections of a mapper that has ended live on. As long as the server
 * has not reaped the last of them, no other process group has that number.
 */
static bool
has_orphans(const struct child *m)
{
	pid_t pid;

	while ((pid = waitpid(-m->pid, NULL, WNOHANG)) > 0)
		;
	return pid == 0;
}

static void
bury(struct child *m, int status)
{
	if (m->retired)
		;
	else if (WIFSIGNALED(status))
		log_error("'%s': its mapper was killed by signal %d",
		    m->service->map->word, WTERMSIG(status));
	else
		log_error("'%s': its mapper ended with status %d",
		    m->service->map->word, WEXITSTATUS(status));
	if (m->service && m->service->mapper == m)
		m->service->mapper = NULL;
	mapper_orphan(m);
}

/*
 * Nobody but the server says when a mapper is to stop. One that is stopped again
 * and again is replaced, but not sooner than another one can be had.
 */
static void
resume(struct child *m, int status)
{
	const struct service *s = m->service;

	log_limited("'%s': its mapper was stopped by signal %d: continued",
	    s ? s->map->word : "", WSTOPSIG(status));
	if (++m->stops < STOPS_MAX || m->retired || !s ||
	    now() - s->tried < REPLACE_MS)
		return;
	log_error("'%s': its mapper is stopped again and again: replaced",
	    s->map->word);
	service_retire(m, server.conf->drain);
}

/* A reader of metrics or a connection of a mapper that has ended. */
static void
reap_other(pid_t pid)
{
	for (int i = 0; i < READERS_MAX; i++)
		if (server.reader[i] == pid)
			server.reader[i] = 0;
}

/* Hears of a child that has ended or was stopped: false if there is none. */
static bool
reap_one(void)
{
	struct child *m = mapper_first();
	int status;
	pid_t pid = waitpid(-1, &status, WNOHANG | WUNTRACED);

	if (pid <= 0)
		return false;
	while (m && m->pid != pid)
		m = m->next;
	if (WIFSTOPPED(status)) {
		kill(pid, SIGCONT);
		if (m)
			resume(m, status);
	} else if (m) {
		bury(m, status);
	} else {
		reap_other(pid);
	}
	return true;
}

/* In turns: who stops them again and again is not to hold up the server. */
static void
reap(void)
{
	struct child *m, *next;
	int n = 0;

	while (n < REAP_MAX && reap_one())
		n++;
	if (n == REAP_MAX)
		raise(SIGCHLD);
	for (m = mapper_first(); m; m = next) {
		next = m->next;
		if (m->ended && !has_orphans(m))
			mapper_bury(m);
	}
}

/* A place for one more reader of metrics, or NULL. */
static pid_t *
free_reader(void)
{
	for (int i = 0; i < READERS_MAX; i++)
		if (!server.reader[i])
			return &server.reader[i];
	return NULL;
}

static void
take_signal(void)
{
	struct signalfd_siginfo info;

	if (read(server.signals, &info, sizeof(info)) != sizeof(info))
		return;
	if (info.ssi_signo == SIGCHLD)
		reap();
	else if (info.ssi_signo == SIGUSR1)
		status_table(&server.list, server.signals);
	else if (info.ssi_signo != SIGHUP)
		stop();
	else if (!server.stopping)
		reload();
}

/* For poll(2); no time that can be given is longer than its int. */
static int
span_until(deadline next)
{
	deadline left = next - now();

	return next == NEVER ? -1 : left < 0 ? 0 : (int)left;
}

static void
turn(deadline next)
{
	struct pollfd watched[] = {
	    {.fd = server.signals, .events = POLLIN},
	    {.fd = server.stopping ? -1 : server.mounts, .events = POLLPRI},
	    {.fd = -1, .events = POLLIN},
	};
	pid_t *reader = free_reader();

	if (server.stats.count && reader)
		watched[2].fd = server.stats.listener->fd;
	if (poll(watched, 3, span_until(next)) == 0)
		server.look = !server.conf->pin;
	if (watched[0].revents)
		take_signal();
	if (watched[1].revents)
		server.look = true;
	if (watched[2].revents && reader && server.stats.count)
		*reader = status_answer(watched[2].fd, &server.list,
		    &server.conf->cred);
}

static void
loop(void)
{
	deadline next;

	server.look = !server.conf->pin;
	for (;;) {
		next = sooner(server.stopping ? NEVER : mend_all(), expire());
		if (server.stopping && !mapper_first())
			return;
		turn(next);
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
	server.signals = signalfd(-1, &set, SFD_CLOEXEC);
	return server.signals == -1 ? -1 : 0;
}

/*
 * What was left open by whoever started us is not ours to hold: a pipe's
 * reader would wait for its end. Named descriptors stay.
 */
static int
close_inherited(const struct conf *conf)
{
	int handed = listen_inherited();
	int *keep = calloc(2 * conf->maps + 1 + handed, sizeof(*keep));
	size_t n = 0;

	if (!keep)
		return -1;
	keep[n++] = conf->ready_fd;
	while (handed)
		keep[n++] = STDERR_FILENO + handed--;
	for (size_t i = 0; i < conf->maps; i++) {
		if (conf->map[i].from.kind == NS_FD)
			keep[n++] = conf->map[i].from.number;
		if (conf->map[i].to.kind == NS_FD)
			keep[n++] = conf->map[i].to.number;
	}
	sandbox_close_others(keep, n);
	free(keep);
	return 0;
}

/* It is the owner's alone: a umask of its own makes it so. */
static int
open_stats(const char *path)
{
	struct map *map = &server.stats_map;
	mode_t old;
	int entered = 0, result = -1;

	if (!path)
		return 0;
	*map = (struct map){.word = strdup("--stats"),
	    .listen = {.kind = SIDE_PATH, .text = strdup(path)}};
	old = umask(077);
	if (map->word && map->listen.text)
		result =
		    listen_open(&server.stats, map, PROTO_TCP, &entered, 0);
	umask(old);
	if (result == -1 && !entered)
		log_error("--stats: %s", strerror(errno));
	return result;
}

static int
prepare(struct conf *conf)
{
	sandbox_hide();
	server.conf = conf;
	if (close_inherited(conf) == -1 ||
	    (conf->background && life_daemon() == -1) ||
	    log_open(conf->syslog || conf->background) == -1 ||
	    open_signals() == -1 || mapper_open() == -1 ||
	    sandbox_adopt() == -1 || sandbox_keep() == -1) {
		log_error("%s", strerror(errno));
		return 1;
	}
	/* While its socket may be reached: --pin takes rights away. */
	life_notify("STATUS=starting\n");
	raise_limits();
	server.mounts =
	    conf->pin ? -1 : open("/proc/self/mountinfo", O_RDONLY | O_CLOEXEC);
	if (conf->pidfile && life_pidfile(conf->pidfile) == -1)
		return 1;
	return open_stats(conf->stats) == -1;
}

/* What is in force, where it is not what the user expects. */
static int
settle(const struct conf *conf)
{
#ifdef UNCONFINED
	log_info("built for tests: no filters of system calls");
#endif
	if (conf->unconfined)
		log_info("--no-sandbox: no filters of system calls");
	if (!conf->pin)
		return 0;
	log_info("--pin: no mapper or namespace that goes can be followed");
	if (sandbox_drop(&conf->cred, false) == 0)
		return 0;
	log_error("--pin: cannot drop privileges: %s", log_errno(errno));
	return 1;
}

int
serve(struct conf *conf)
{
	int status = prepare(conf);

	if (!status)
		status = change(&server.list, conf);
	if (!status)
		status = settle(conf);
	if (!status) {
		log_info("ready: %zu %s", conf->maps,
		    conf->maps == 1 ? "map" : "maps");
		life_ready(conf->ready_fd);
		say_ready();
		log_leave();
		loop();
		log_info("stopped");
	}
	listen_close(&server.stats, &server.stats_map);
	spec_free(&server.stats_map);
	free(server.list.service);
	life_end();
	return status;
}
