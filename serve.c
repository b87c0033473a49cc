/* The server: listeners and mappers, their birth, replacement and end. */

/*
 * Theory of operation
 *
 * Everything is checked before anything is bound, everything is bound before
 * anything listens, and everything listens before the first mapper is born.
 * Each listener is opened by a helper in its source namespace and stays the
 * server's: a mapper inherits it by fork and enters its destination namespace
 * for good, while the server never moves.
 *
 * A mapper never changes. One that died is replaced by a new one on the same
 * listeners, so that no client is refused; clients wait in the backlog. The
 * channel between the two says "it stands" once, upwards, then carries orders
 * downwards; its end tells a mapper that the server is gone.
 */

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/wait.h>
#include <unistd.h>

#include "nsfwd.h"

#define BIRTH_MS   5000    /* for a mapper to reach its destination */
#define RESPAWN_MS 1000    /* between two births of one mapper */
#define NOFILE_MAX 1048576 /* the kernel's own limit, fs.nr_open */
#define KILL_MS    1000    /* for a mapper to reset its connections */

struct mapper {
	const struct map *map;
	enum proto proto;
	struct listeners set;
	pid_t pid;   /* 0: there is none */
	int channel; /* -1: there is none */
	deadline born;
};

static struct server {
	const struct conf *conf;
	struct mapper *mapper;
	size_t mappers;
	_Atomic uint32_t *live; /* connections of each mapper, shared */
	int signals;
	deadline until; /* of the drain; 0: it has not begun */
	bool killing;
} server;

/* The exit status that goes with it: a missing namespace is a wrong word. */
static int
explain_ns(const struct map *map, const struct ns *ns, int err)
{
	const char *hint = ns_hint(ns, err);

	switch (err) {
	case ENOENT:
	case ESRCH:
	case EBADF:
	case ENOTDIR:
		log_error("'%s': no namespace '%s' (%s)", map->word,
		    ns_word(ns), hint);
		return 2;
	case EINVAL:
	case EISDIR:
	case ENXIO:
	case ELOOP:
		log_error("'%s': '%s' is not a network namespace", map->word,
		    ns_word(ns));
		return 2;
	case ECANCELED: /* the mapper has said it */
		return 1;
	default:
		log_error("'%s': %s '%s' (%s)", map->word,
		    hint ? "cannot enter namespace" : "no mapper in",
		    ns_word(ns), hint ? hint : log_errno(err));
		return 1;
	}
}

static int
nothing(void *arg)
{
	(void)arg;
	return 0;
}

static int
check(const struct map *map)
{
	const struct ns *both[] = {&map->from, &map->to};

	for (int i = 0; i < 2; i++)
		if (ns_call(both[i], nothing, NULL, NULL) == -1)
			return explain_ns(map, both[i], errno);
	return 0;
}

static int
open_listeners(struct mapper *mapper)
{
	int entered;

	if (listen_open(&mapper->set, mapper->map, mapper->proto, &entered) ==
	    0)
		return 0;
	return entered ? 1 : explain_ns(mapper->map, &mapper->map->from, errno);
}

/* What else the server holds ends here. */
static int
keep_own(const struct mapper *mapper, int channel)
{
	size_t count = mapper->set.count + mapper->set.spares;
	int *keep = calloc(count + 1, sizeof(*keep));

	if (!keep)
		return -1;
	for (size_t i = 0; i < count; i++)
		keep[i] = mapper->set.listener[i].fd;
	keep[count] = channel;
	sandbox_close_others(keep, count + 1);
	free(keep);
	return 0;
}

static unsigned
role_of(const struct mapper *mapper)
{
	const struct map *map = mapper->map;
	unsigned role = mapper->proto == PROTO_UDP ? SANDBOX_UDP : SANDBOX_TCP;

	for (size_t i = 0; i < map->targets + map->hops; i++) {
		const struct side *side = i < map->targets
		    ? &map->target[i]
		    : &map->hop[i - map->targets].side;

		if (side->kind == SIDE_HOST || side->kind == SIDE_PROXY)
			role |= SANDBOX_NAMES | SANDBOX_PARSES;
		if (side->kind == SIDE_PATH || side->kind == SIDE_ABSTRACT ||
		    side->zone)
			role |= SANDBOX_UNIX;
	}
	if (map->hops || map->accept_proxy.count)
		role |= SANDBOX_PARSES;
	if (map->src.kind == SIDE_INET || map->src.kind == SIDE_INET6)
		role |= SANDBOX_BIND;
	return role;
}

/* Its own words for what is no fault of the namespace: ECANCELED. */
static int
deny(const struct mapper *mapper, const char *what, const char *advice)
{
	log_error("'%s': cannot %s: %s%s", mapper->map->word, what,
	    log_errno(errno), advice);
	errno = ECANCELED;
	return -1;
}

/* With the fewest rights that let it be a mapper; they are gone before. */
static int
become(const struct mapper *mapper, const struct post *post)
{
	const struct conf *conf = server.conf;
	const struct map *map = mapper->map;

	if (ns_enter(&map->to) == -1 || keep_own(mapper, post->channel) == -1)
		return -1;
	if (role_of(mapper) & SANDBOX_NAMES && ns_etc(&map->to) == -1)
		return deny(mapper, "use the files of /etc/netns", "");
	if (sandbox_drop(&conf->cred, map->mark) == -1)
		return deny(mapper, "drop privileges", " (see --user)");
	if ((mapper->proto == PROTO_UDP ? udp_equip(post)
		    : map->workers      ? crew_equip(post)
					: tcp_equip(post)) == -1)
		return -1;
	if (post->role && sandbox_confine(post->role) == -1)
		return deny(mapper, "filter system calls",
		    " (--no-sandbox does without)");
	return 0;
}

/* The whole life of a mapper: only when it can serve does it say so. */
static _Noreturn void
live(const struct mapper *mapper, int channel)
{
	const struct post post = {
	    .map = mapper->map,
	    .listener = mapper->set.listener,
	    .listeners = mapper->set.count,
	    .spares = mapper->set.spares,
	    .channel = channel,
	    .live = server.live,
	    .mappers = server.mappers,
	    .own = (size_t)(mapper - server.mapper),
	    .max_conns = server.conf->max_conns,
	    .role = server.conf->unconfined ? 0 : role_of(mapper),
	};
	int error = become(mapper, &post) == -1 ? errno : 0;

	if (send(channel, &error, sizeof(error), MSG_NOSIGNAL) == -1 || error)
		_exit(1);
	if (mapper->proto == PROTO_UDP)
		udp_serve();
	if (mapper->map->workers)
		crew_serve();
	tcp_serve();
}

/* Waits for the word of a newborn mapper; its errno is ours. */
static int
hear(const struct mapper *mapper)
{
	struct pollfd watched = {.fd = mapper->channel, .events = POLLIN};
	int error = ETIMEDOUT, n;

	do
		n = poll(&watched, 1, BIRTH_MS);
	while (n == -1 && errno == EINTR);
	if (n == 1 &&
	    recv(mapper->channel, &error, sizeof(error), 0) != sizeof(error))
		error = ECONNRESET;
	errno = error;
	return error ? -1 : 0;
}

static int
give_birth(struct mapper *mapper)
{
	int pair[2];

	mapper->born = now();
	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) == -1)
		return -1;
	mapper->pid = fork();
	if (mapper->pid == 0)
		live(mapper, pair[1]);
	close(pair[1]);
	mapper->channel = pair[0];
	if (mapper->pid > 0)
		return 0;
	mapper->pid = 0;
	close(pair[0]);
	mapper->channel = -1;
	return -1;
}

static int
start_mappers(void)
{
	int status = 0;

	for (size_t i = 0; i < server.mappers && !status; i++)
		if (give_birth(&server.mapper[i]) == -1) {
			log_error("'%s': fork: %s", server.mapper[i].map->word,
			    strerror(errno));
			status = 1;
		}
	for (size_t i = 0; i < server.mappers && !status; i++)
		if (hear(&server.mapper[i]) == -1)
			status = explain_ns(server.mapper[i].map,
			    &server.mapper[i].map->to, errno);
	return status;
}

static void
order(enum order what)
{
	const char byte = (char)what;

	for (size_t i = 0; i < server.mappers; i++)
		if (server.mapper[i].channel != -1)
			send(server.mapper[i].channel, &byte, 1,
			    MSG_NOSIGNAL | MSG_DONTWAIT);
}

static uint32_t
live_connections(void)
{
	uint32_t sum = 0;

	for (size_t i = 0; i < server.mappers; i++)
		if (server.mapper[i].proto == PROTO_TCP)
			sum += atomic_load(&server.live[i]);
	return sum;
}

/* The first time to drain, the second time, or when time is up, to end. */
static void
stop(void)
{
	if (server.until) {
		server.killing = true;
		server.until = now() + KILL_MS;
		order(ORDER_KILL);
		return;
	}
	server.until = now() + server.conf->drain + 1;
	for (size_t i = 0; i < server.mappers; i++)
		listen_close(&server.mapper[i].set, server.mapper[i].map);
	order(ORDER_DRAIN);
	if (live_connections())
		log_info("stopping: %u connections have %lld s to finish",
		    live_connections(), (long long)server.conf->drain / 1000);
}

static void
bury(struct mapper *mapper, int status)
{
	mapper->pid = 0;
	close(mapper->channel);
	mapper->channel = -1;
	atomic_store(&server.live[mapper - server.mapper], 0);
	if (server.until)
		return;
	if (WIFSIGNALED(status))
		log_error("'%s': its mapper was killed by signal %d",
		    mapper->map->word, WTERMSIG(status));
	else
		log_error("'%s': its mapper ended with status %d",
		    mapper->map->word, WEXITSTATUS(status));
}

static void
reap(void)
{
	int status;
	pid_t pid;

	while ((pid = waitpid(-1, &status, WNOHANG)) > 0)
		for (size_t i = 0; i < server.mappers; i++)
			if (server.mapper[i].pid == pid)
				bury(&server.mapper[i], status);
}

static bool
childless(void)
{
	for (size_t i = 0; i < server.mappers; i++)
		if (server.mapper[i].pid)
			return false;
	return true;
}

static deadline
sooner(deadline a, deadline b)
{
	return a && a < b ? a : b;
}

/* Replaces the mappers that died; returns when to look again, or 0. */
static deadline
replace(void)
{
	deadline next = 0;

	for (size_t i = 0; i < server.mappers && !server.until; i++) {
		struct mapper *mapper = &server.mapper[i];

		if (mapper->pid)
			continue;
		if (now() - mapper->born < RESPAWN_MS) {
			next = sooner(next, mapper->born + RESPAWN_MS);
			continue;
		}
		if (give_birth(mapper) == -1 || hear(mapper) == -1)
			log_error("'%s': no new mapper: %s", mapper->map->word,
			    log_errno(errno));
		if (!mapper->pid)
			next = sooner(next, now() + RESPAWN_MS);
	}
	return next;
}

static void
take_signal(void)
{
	struct signalfd_siginfo info;

	if (read(server.signals, &info, sizeof(info)) != sizeof(info))
		return;
	if (info.ssi_signo == SIGCHLD)
		reap();
	else
		stop();
}

static void
kill_mappers(void)
{
	for (size_t i = 0; i < server.mappers; i++)
		if (server.mapper[i].pid)
			kill(server.mapper[i].pid, SIGKILL);
}

/* For poll(2): never -1, which is for ever, because time has passed. */
static int
span_until(deadline next)
{
	deadline left = next - now();

	return !next ? -1 : left < 0 ? 0 : (int)left;
}

static int
loop(void)
{
	struct pollfd watched = {.fd = server.signals, .events = POLLIN};
	deadline next;

	for (;;) {
		next = replace();
		if (server.until)
			next = server.until;
		if (server.until && childless())
			return 0;
		if (server.until && now() >= server.until) {
			if (server.killing)
				kill_mappers();
			stop();
			continue;
		}
		if (poll(&watched, 1, span_until(next)) == 1)
			take_signal();
	}
}

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
	static const int wanted[] = {SIGTERM, SIGCHLD, SIGINT, SIGHUP};
	struct sigaction old;
	sigset_t set;

	sigemptyset(&set);
	for (int i = 0; i < 4; i++)
		if (sigaction(wanted[i], NULL, &old) == 0 &&
		    (old.sa_handler != SIG_IGN || i < 2))
			sigaddset(&set, wanted[i]);
	if (sigprocmask(SIG_SETMASK, &set, NULL) == -1)
		return -1;
	server.signals = signalfd(-1, &set, SFD_CLOEXEC);
	return server.signals == -1 ? -1 : 0;
}

/* A map has a mapper for each of its protocols. */
static void
assign(const struct conf *conf)
{
	static const enum proto protos[] = {PROTO_TCP, PROTO_UDP};

	for (size_t i = 0; i < conf->maps; i++)
		for (size_t k = 0; k < 2; k++)
			if (conf->map[i].proto & protos[k])
				server.mapper[server.mappers++] =
				    (struct mapper){
					.map = &conf->map[i],
					.proto = protos[k],
					.channel = -1,
				    };
}

/*
 * What was left open by whoever started us is not ours to hold: a pipe's
 * reader would wait for its end. Named descriptors stay.
 */
static int
close_inherited(const struct conf *conf)
{
	int *keep = calloc(2 * conf->maps + 1, sizeof(*keep));
	size_t n = 0;

	if (!keep)
		return -1;
	keep[n++] = conf->ready_fd;
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
prepare(struct conf *conf)
{
	sandbox_hide();
	server.conf = conf;
	server.mapper = calloc(2 * conf->maps, sizeof(*server.mapper));
	if (server.mapper)
		assign(conf);
	server.live = mmap(NULL, server.mappers * sizeof(*server.live),
	    PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (!server.mapper || server.live == MAP_FAILED ||
	    close_inherited(conf) == -1 || open_signals() == -1 ||
	    sandbox_keep() == -1) {
		log_error("%s", strerror(errno));
		return 1;
	}
	raise_limits();
	return 0;
}

static int
start(const struct conf *conf)
{
	int status = 0;

	for (size_t i = 0; i < conf->maps && !status; i++)
		status = check(&conf->map[i]);
	for (size_t i = 0; i < server.mappers && !status; i++)
		status = open_listeners(&server.mapper[i]);
	for (size_t i = 0; i < server.mappers && !status; i++)
		if (server.mapper[i].proto == PROTO_TCP)
			status = -listen_begin(&server.mapper[i].set,
			    server.mapper[i].map);
	return status ? status : start_mappers();
}

static void
say_ready(struct conf *conf)
{
	static const char line[] = "ready\n";

	log_info("ready: %zu %s", conf->maps, conf->maps == 1 ? "map" : "maps");
	if (conf->ready_fd == -1)
		return;
	if (write(conf->ready_fd, line, sizeof(line) - 1) == -1)
		log_error("--ready-fd %d: %s", conf->ready_fd, strerror(errno));
	close(conf->ready_fd);
	conf->ready_fd = -1;
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
		status = start(conf);
	if (!status)
		status = settle(conf);
	if (!status) {
		say_ready(conf);
		status = loop();
		log_info("stopped");
	}
	for (size_t i = 0; i < server.mappers; i++)
		listen_close(&server.mapper[i].set, server.mapper[i].map);
	free(server.mapper);
	return status;
}
