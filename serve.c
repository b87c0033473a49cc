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
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "listen_check.h"
#include "server.h"

#define RETRY_MS    1000    /* between two looks, or attempts for one service */
#define LOOK_MS     100     /* for what else is mounted at the same time */
#define KILL_MS     1000    /* for a mapper to reset its connections */
#define STOPS_MAX   10      /* of one mapper, before it is replaced */
#define REPLACE_MS  2000    /* between two such replacements of a service */
#define REAP_MAX    256     /* children in one turn */
#define READERS_MAX 8       /* of metrics, at a time */
#define NOFILE_MAX  1048576 /* the kernel's own limit, fs.nr_open */
#define CENSUS      96      /* room for the words of census() */
#define EVENTS      64

static struct server {
	struct conf *conf;
	struct services list;
	struct map stats_map; /* the socket for metrics, as if it were one */
	struct listeners stats;
	int stats_told; /* why it has no socket, an errno that was logged */
	pid_t reader[READERS_MAX]; /* 0: none */
	int signals, mounts;
	int ends;        /* epoll: of listeners that `ss -K` has destroyed */
	deadline looked; /* at the namespaces */
	size_t serving;  /* maps, as the service manager was told last */
	bool look, pinned, stopping;
} server;

static deadline
sooner(deadline a, deadline b)
{
	return b < a ? b : a;
}

/* How many maps have all their mappers. A map's services are neighbours. */
static size_t
serving(void)
{
	const struct service *s = server.list.service;
	const struct map *waits = NULL;
	size_t n = server.conf->maps;

	for (size_t i = 0; i < server.list.count; i++)
		if (!s[i].mapper && s[i].map != waits) {
			waits = s[i].map;
			n--;
		}
	return n;
}

/* The same in words, "2 maps" or "1 of 2 maps, 1 waits". */
static const char *
census(char *text, size_t size)
{
	size_t all = server.conf->maps, n = serving();

	if (n == all)
		snprintf(text, size, "%zu %s", n, n == 1 ? "map" : "maps");
	else
		snprintf(text, size, "%zu of %zu %s, %zu %s", n, all,
		    all == 1 ? "map" : "maps", all - n,
		    all - n == 1 ? "waits" : "wait");
	return text;
}

static void
say_status(const char *before)
{
	char text[CENSUS];

	server.serving = serving();
	life_notify("%sSTATUS=%s\n", before, census(text, sizeof(text)));
}

/* It is the owner's alone: a umask of its own makes it so. */
static int
open_stats(bool waits)
{
	int entered = 0, result;
	mode_t old = umask(077);

	result = listen_open(&server.stats, &server.stats_map, PROTO_TCP,
	    &entered, server.stats_told, waits);
	umask(old);
	if (result == 0) {
		server.stats_told = 0;
		return 0;
	}
	if (!entered)
		log_error("--stats: %s", strerror(errno));
	server.stats_told = errno;
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
look(void)
{
	server.looked = now();
	server.look = false;
	if (server.conf->stats)
		follow_stats();
	for (size_t i = 0; i < server.list.count; i++)
		service_follow(&server.list.service[i], server.conf);
}

/*
 * When to look: soon after a mount; each second where nothing tells of a change.
 * Always later than the last look.
 */
static deadline
look_due(void)
{
	if (server.pinned)
		return NEVER;
	if (server.look)
		return server.looked + LOOK_MS;
	if (server.conf->stats)
		return server.looked + RETRY_MS;
	for (size_t i = 0; i < server.list.count; i++)
		if (!server.list.service[i].mapper ||
		    server.list.service[i].silent)
			return server.looked + RETRY_MS;
	return NEVER;
}

/* Returns when to look or to try again, or NEVER. */
static deadline
mend_all(void)
{
	deadline at = now(), next = NEVER;

	if (at >= look_due())
		look();
	for (size_t i = 0; i < server.list.count; i++) {
		struct service *s = &server.list.service[i];
		bool lacks = !s->mapper || s->lost;

		if (lacks && at >= s->tried + RETRY_MS) {
			service_mend(s, server.conf);
			lacks = !s->mapper || s->lost;
		}
		if (lacks)
			next = sooner(next, s->tried + RETRY_MS);
		if (s->opened && !s->watched &&
		    service_watch(s, server.ends) == -1)
			log_error("'%s': its listeners are not watched: %s",
			    s->map->word, log_errno(errno));
	}
	if (server.serving != serving())
		say_status("");
	return sooner(next, look_due());
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
	char text[64];

	snprintf(text, sizeof(text), "READY=1\nMAINPID=%d\n", (int)getpid());
	say_status(text);
}

/* Looks and tries now, as whoever asks for a reload expects. */
static void
mend_now(void)
{
	server.look = !server.pinned;
	server.looked = 0;
	for (size_t i = 0; i < server.list.count; i++)
		if (!server.list.service[i].mapper)
			server.list.service[i].tried = 0;
	mend_all();
}

static void
reload(void)
{
	char text[CENSUS];
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
		server.conf->map = fresh.map;
		server.conf->maps = fresh.maps;
		mend_now();
		log_info("reloaded: %s", census(text, sizeof(text)));
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

/*
 * Edge-triggered: one that cannot be mended is told of once. The descriptor may be
 * another one's by now, or what it is of may have been mended.
 */
static void
take_ends(void)
{
	struct epoll_event ev[EVENTS];
	int n = epoll_wait(server.ends, ev, EVENTS, 0);

	for (int k = 0; k < n; k++)
		for (size_t i = 0; i < server.list.count; i++) {
			struct service *s = &server.list.service[i];

			if (s->proto == PROTO_TCP && !s->lost &&
			    service_has(s, ev[k].data.fd))
				s->lost = !listen_accepts(ev[k].data.fd);
		}
}

static void
turn(deadline next)
{
	struct pollfd watched[] = {
	    {.fd = server.signals, .events = POLLIN},
	    {.fd = server.stopping ? -1 : server.mounts, .events = POLLPRI},
	    {.fd = server.stopping ? -1 : server.ends, .events = POLLIN},
	    {.fd = -1, .events = POLLIN},
	};
	pid_t *reader = free_reader();

	if (server.stats.count && reader)
		watched[3].fd = server.stats.listener->fd;
	poll(watched, 4, span_until(next));
	if (watched[0].revents)
		take_signal();
	if (watched[1].revents)
		server.look = true;
	if (watched[2].revents)
		take_ends();
	if (watched[3].revents && reader && server.stats.count)
		*reader = status_answer(watched[3].fd, &server.list,
		    &server.conf->cred);
}

/*
 * With --pin the server gives up its rights as soon as every map serves, because
 * then it needs none; a map that waits does. -1, logged.
 */
static int
pin(void)
{
	if (!server.conf->pin || server.pinned || serving() < server.conf->maps)
		return 0;
	log_info("--pin: no mapper or namespace that goes can be followed");
	server.pinned = true;
	server.look = false;
	close(server.mounts);
	server.mounts = -1;
	if (sandbox_drop(&server.conf->cred, false) == 0)
		return 0;
	log_error("--pin: cannot drop privileges: %s", log_errno(errno));
	return -1;
}

/* Returns the exit status. */
static int
loop(void)
{
	deadline next;

	server.look = !server.pinned;
	for (;;) {
		next = sooner(server.stopping ? NEVER : mend_all(), expire());
		if (server.stopping && !mapper_first())
			return 0;
		if (!server.stopping && pin() == -1)
			return 1;
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

static int
name_stats(const char *path)
{
	struct map *map = &server.stats_map;

	*map = (struct map){.word = strdup("--stats"),
	    .listen = {.kind = SIDE_PATH, .text = strdup(path)}};
	return map->word && map->listen.text ? 0 : -1;
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
	    (server.ends = epoll_create1(EPOLL_CLOEXEC)) == -1 ||
	    (conf->stats && name_stats(conf->stats) == -1) ||
	    sandbox_adopt() == -1 || sandbox_keep() == -1) {
		log_error("%s", strerror(errno));
		return 1;
	}
	/* While its socket may be reached: --pin takes rights away. */
	life_notify("STATUS=starting\n");
	raise_limits();
	server.mounts = open("/proc/self/mountinfo", O_RDONLY | O_CLOEXEC);
	if (conf->pidfile && life_pidfile(conf->pidfile) == -1)
		return 1;
	return conf->stats && open_stats(false) == -1;
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
	if (conf->pin && serving() < conf->maps)
		log_info("--pin: privileges are kept until every map serves");
	return pin() == -1;
}

/* The line of --ready-fd is "ready" alone where no map waits. */
static void
say_start(void)
{
	bool all = serving() == server.conf->maps;
	char text[CENSUS], line[sizeof("ready: ") + CENSUS];

	snprintf(line, sizeof(line), "ready: %s", census(text, sizeof(text)));
	log_info("%s", line);
	life_ready(server.conf->ready_fd, all ? "ready" : line);
	say_ready();
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
		say_start();
		log_leave();
		status = loop();
		log_info("stopped");
	}
	listen_close(&server.stats, &server.stats_map);
	spec_free(&server.stats_map);
	free(server.list.service);
	life_end();
	return status;
}
