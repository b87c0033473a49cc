/* Checks that the system has what a map names, before the map serves. */

#include <arpa/inet.h>
#include <errno.h>
#include <net/if.h>
#include <pwd.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/advice.h"
#include "base/log.h"
#include "base/sandbox.h"
#include "config/config.h"
#include "config/endpoint.h"
#include "config/map.h"
#include "config/stats.h"
#include "netns.h"
#include "server/bind.h"
#include "server/daemon.h"
#include "server/inspect.h"
#include "server/listen_check.h"
#include "server/service.h"
#include "server/stats_socket.h"

/* A job of ns_call(): looks up an address and an interface in a namespace. */
struct probe {
	const struct endpoint *ep; /* an address of that namespace, or NULL */
	const char *dev;           /* an interface, or NULL */
	struct sockaddr_storage addr;
	int ep_errno, dev_errno; /* 0 if ep or dev exists */
	bool lo_down;
};

/*
 * Looks an address up by binding a UDP socket to any port of the address, which
 * disturbs no listener. Returns 0 or an errno.
 */
static int
probe_address(struct probe *p)
{
	const void *addr = &p->addr;
	struct endpoint ep = *p->ep;
	socklen_t length;
	int fd, result;

	ep.port_first = ep.port_last = 0;
	length = endpoint_sockaddr(&p->addr, &ep, 0, AF_INET);
	if (!length)
		return errno;
	fd = socket(p->addr.ss_family, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	if (fd == -1)
		return errno;
	result = bind(fd, addr, length) == -1 ? errno : 0;
	close(fd);
	return result;
}

static int
probe_main(void *arg)
{
	struct probe *p = arg;
	struct ifreq ifr = {0};
	int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);

	if (fd == -1)
		return -1;
	p->lo_down = lo_is_down(fd);
	if (p->dev) {
		snprintf(ifr.ifr_name, sizeof(ifr.ifr_name), "%s", p->dev);
		if (ioctl(fd, SIOCGIFINDEX, &ifr) == -1)
			p->dev_errno = errno;
	}
	close(fd);
	if (p->ep)
		p->ep_errno = probe_address(p);
	return 0;
}

static bool
is_absent(int err)
{
	return err == ENODEV || err == EADDRNOTAVAIL;
}

/*
 * Logs that the address of src=, or the interface of dev=, is absent from the
 * target namespace. Returns EXIT_USAGE, or 0 with --wait.
 */
static int
source_absent(const struct map *map, bool wait, const char *key,
    const struct endpoint *src)
{
	const char *ns = ns_spec(&map->target_ns);
	char text[INET6_ADDRSTRLEN];
	const char *name = map->dev;

	if (src)
		name = inet_ntop(src->kind == EP_IPV4 ? AF_INET : AF_INET6,
		    &src->addr, text, sizeof(text));

	log_error(
	    "%s'%s': %s=%s: no such %s in namespace '%s' (%s shows them): "
	    "%s",
	    map->origin, map->spec, key, name, src ? "address" : "interface",
	    ns, src ? "ip addr" : "ip link",
	    wait ? "no target is reached until it is there"
		 : "--wait starts without it");
	return wait ? 0 : EXIT_USAGE;
}

static int
inspect_source(const struct map *map, const struct probe *p, bool wait)
{
	int status = 0;

	if (p->dev_errno == ENODEV)
		status |= source_absent(map, wait, "dev", NULL);
	if (is_absent(p->ep_errno))
		status |= source_absent(map, wait, "src", &map->src);
	return status;
}

/*
 * Logs that lo is down. That is no error, because `ip netns add` leaves lo
 * down, and lo may be set up later.
 */
static void
warn_of_lo(const struct map *map, const struct endpoint *ep)
{
	const char *ns = ns_spec(&map->target_ns);
	char ip[ADVICE_SIZE];

	log_error("%s'%s': lo is down in namespace '%s', so that %s cannot be "
		  "reached: %s link set lo up",
	    map->origin, map->spec, ns, ep->arg, ip_command(ip, ns));
}

/* A job of ns_call(): checks if a user may access a file. */
struct access_job {
	const struct cred *cred;
	const char *path;
	int mode;  /* of access(2) */
	uid_t uid; /* of that user */
};

static int
access_main(void *arg)
{
	struct access_job *job = arg;

	return sandbox_access(job->cred, job->path, job->mode, &job->uid);
}

#define USER_SIZE 264

/*
 * Returns NULL if the user may access the file; else writes the user's name or
 * number into buf, which has USER_SIZE bytes, and returns it.
 */
static const char *
refused_user(char *buf, const struct cred *cred, const char *path, int mode)
{
	const struct ns self = {.kind = NS_SELF};
	struct access_job job = {cred, path, mode, 0};
	const struct passwd *user;

	if (ns_call(&self, access_main, &job, NULL) == 0 || errno != EACCES)
		return NULL;
	user = getpwuid(job.uid);
	if (user)
		snprintf(buf, USER_SIZE, "%s", user->pw_name);
	else
		snprintf(buf, USER_SIZE, "%u", job.uid);
	return buf;
}

static const char *
file_kind(mode_t mode)
{
	switch (mode & S_IFMT) {
	case S_IFREG:
		return "a regular file";
	case S_IFDIR:
		return "a directory";
	case S_IFIFO:
		return "a FIFO";
	default:
		return "a device";
	}
}

/*
 * Returns 0 if the path of a target is a socket, or if this process may not
 * look at it; ENOENT if it is absent; or another errno, logged, if it cannot be
 * a socket.
 */
static int
inspect_socket_file(const struct map *map, const char *path)
{
	struct stat st;
	int err = ENOTSOCK;

	if (stat(path, &st) == -1) {
		err = errno == EACCES ? 0 : errno;
		if (err && err != ENOENT)
			log_error("%s'%s': '%s' cannot be a socket: %s",
			    map->origin, map->spec, path, strerror(err));
		return err;
	}
	if (S_ISSOCK(st.st_mode))
		return 0;
	log_error("%s'%s': '%s' is %s, not a socket (a port of a namespace is "
		  "NS@PORT)",
	    map->origin, map->spec, path, file_kind(st.st_mode));
	return err;
}

/*
 * Refuses a path that is no socket, or that a mapper's user may not open. Only
 * warns of an absent file, because its program may start later.
 */
static int
inspect_unix_target(const struct map *map, const struct endpoint *ep,
    const struct config *conf)
{
	const struct cred *cred =
	    map->run_as ? &map->run_cred : &conf->owner_cred;
	const int err = inspect_socket_file(map, ep->name);
	char user[USER_SIZE];

	if (err && err != ENOENT)
		return EXIT_USAGE;
	if (refused_user(user, cred, ep->name, W_OK)) {
		log_error("%s'%s': user %s may not open '%s': give it write "
			  "permission on the socket and x on its directories, "
			  "or name another user with --user",
		    map->origin, map->spec, user, ep->name);
		return conf->wait_for_ns ? 0 : EXIT_USAGE;
	}
	if (err)
		log_error("%s'%s': no socket '%s' yet", map->origin, map->spec,
		    ep->name);
	return 0;
}

/* Warns with --daemon, too, because a daemon logs to the syslog. */
static void
warn_of_syslog(const struct config *conf)
{
	char user[USER_SIZE];

	if ((conf->syslog || conf->daemonize) &&
	    refused_user(user, &conf->owner_cred, "/dev/log", W_OK))
		log_error("--syslog: user %s may not write to /dev/log: lines "
			  "of mappers and connections are lost",
		    user);
}

int
inspect_program(const struct config *conf)
{
	struct map map;
	char user[USER_SIZE];

	warn_of_syslog(conf);
	if (!conf->pin || !conf->stats || stats_parse(&map, conf->stats))
		return 0;
	map_free(&map);
	if (!refused_user(user, &conf->owner_cred, "/proc/self/exe", X_OK))
		return 0;
	log_error("'--stats %s': user %s may not execute this program, as "
		  "--pin needs: chmod a+x it, or name another user with --user",
	    conf->stats, user);
	return EXIT_USAGE;
}

int
inspect_user(const struct config *conf)
{
	const struct cred *cred = &conf->owner_cred;

	if (!cred->explicit || sandbox_can_become(cred))
		return 0;
	log_error("--user: mappers cannot become user %u, group %u: only root "
		  "can, and only users of its user namespace",
	    cred->uid, cred->gid);
	return EXIT_USAGE;
}

int
inspect_targets(const struct map *map, const struct config *conf)
{
	struct probe p = {
	    .ep = map->src.kind == EP_ANY ? NULL : &map->src,
	    .dev = map->dev,
	};
	const struct endpoint *eps =
	    map->n_hops ? &map->hops->ep : map->targets;
	size_t n = map->n_hops ? 1 : map->n_targets;
	int status = 0;

	if (ns_call(&map->target_ns, probe_main, &p, NULL) == 0)
		status = inspect_source(map, &p, conf->wait_for_ns);
	for (size_t i = 0; i < n && p.lo_down; i++)
		if (endpoint_is_loopback(&eps[i])) {
			warn_of_lo(map, &eps[i]);
			break;
		}
	for (size_t i = 0; i < n; i++)
		if (eps[i].kind == EP_UNIX_PATH)
			status |= inspect_unix_target(map, &eps[i], conf);
	return status;
}

/*
 * Returns the errno with which a listener at the path would fail, or 0; also 0
 * if this user may not look there, because --check may be run by another one.
 */
static int
inspect_listen_path(const char *path)
{
	struct stat st;
	int err;

	if (strlen(path) >= sizeof(((struct sockaddr_un *)0)->sun_path))
		return ENAMETOOLONG;
	if (lstat(path, &st) == 0)
		return S_ISSOCK(st.st_mode) ? 0 : ENOTSOCK;
	err = errno == ENOENT ? new_file_errno(path) : errno;
	return err == EACCES ? 0 : err;
}

/*
 * Looks up the address, the interface or the directory of a listener. Returns
 * 0, or the exit status, logged.
 */
static int
inspect_listener(const struct map *map, bool wait)
{
	const struct endpoint *ep = &map->listen;
	struct probe p = {.ep = endpoint_is_unix(ep) ? NULL : ep};
	struct bind_job job = {.map = map, .endpoint = ep};
	int err = 0;

	if (ep->kind == EP_STDIO || ep->kind == EP_SYSTEMD)
		return 0;
	if (ep->kind == EP_UNIX_PATH) {
		err = inspect_listen_path(ep->name);
	} else if (ns_call(&map->listen_ns, probe_main, &p, NULL) == 0) {
		err = p.lo_down && endpoint_is_loopback(ep) ? ENETDOWN
		    : is_absent(p.ep_errno)                 ? p.ep_errno
							    : 0;
	}
	if (!err)
		return 0;
	endpoint_sockaddr(&job.addr, ep, 0, AF_INET);
	bind_log_error(&job, err, wait);
	return wait && listen_absent(map, err) ? 0 : 1;
}

/*
 * Returns 0 if the namespace can be entered, else -1, logged. Then sets
 * *status, unless the namespace is absent with --wait, or exists but only a
 * privileged process can enter it, because --check may be run without
 * privileges.
 */
static int
inspect_ns(const struct map *map, const struct ns *ns, bool wait, int *status)
{
	char text[NS_TEXT_SIZE];
	int err;

	if (ns_call(ns, NULL, NULL, NULL) == 0) {
		if (*ns_describe(ns, text))
			log_info("'%s': %s", map->spec, text);
		return 0;
	}
	err = errno;
	if (ns_is_missing(err) && wait)
		log_waiting(map, ns, err);
	else if (err == EPERM && ns_id(ns))
		log_error("%s'%s': namespace '%s' is there, but was not looked "
			  "into (%s)",
		    map->origin, map->spec, ns_spec(ns), ns_hint(ns, err));
	else
		*status |= log_ns_error(map, ns, err);
	return -1;
}

int
inspect_stats(const struct config *conf)
{
	struct map map;
	int err, status = 0;

	if (!conf->stats)
		return 0;
	if (stats_parse(&map, conf->stats)) {
		err = inspect_listen_path(conf->stats);
		if (err)
			stats_socket_log_error(conf->stats, err, false);
		return err != 0;
	}
	if (inspect_ns(&map, &map.listen_ns, conf->wait_for_ns, &status) == 0)
		status = inspect_listener(&map, conf->wait_for_ns);
	map_free(&map);
	return status;
}

int
inspect_map(const struct map *map, const struct config *conf)
{
	const bool wait = conf->wait_for_ns;
	int status = 0;

	if (inspect_ns(map, &map->listen_ns, wait, &status) == 0)
		status |= inspect_listener(map, wait);
	else if (ns_same(&map->listen_ns, &map->target_ns))
		return status;
	if (inspect_ns(map, &map->target_ns, wait, &status) == 0)
		status |= inspect_targets(map, conf);
	return status;
}

int
inspect_all(const struct config *conf)
{
	int status = inspect_program(conf) | inspect_stats(conf);

	/* An ordinary user may check the file of a server of root. */
	if (geteuid() == 0)
		status |= inspect_user(conf);
	if (conf->pidfile && pidfile_check(conf->pidfile, false) == -1)
		status |= 1;
	for (size_t i = 0; i < conf->n_maps; i++)
		status |= inspect_map(&conf->maps[i], conf);
	return status & EXIT_USAGE ? EXIT_USAGE : status;
}
