/* Opens the listeners of a map in its source namespace. */

#include <errno.h>
#include <fcntl.h>
#include <net/if.h>
#include <netinet/in.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/types.h>
#include <sys/un.h>
#include <unistd.h>

#include <linux/if_addr.h>

#include "base/addr.h"
#include "base/array.h"
#include "base/errname.h"
#include "base/fd.h"
#include "base/log.h"
#include "base/sandbox.h"
#include "base/sock.h"
#include "base/text.h"
#include "config/endpoint.h"
#include "config/map.h"
#include "mapper/mapper.h"
#include "netns.h"
#include "server/listen.h"
#include "server/listen_check.h"
#include "udp/datagram.h"

#define BACKLOG    4096
#define UDP_RELAYS 64 /* UDP sockets of a proxy, of each family */
#define UDP_RELAY_RCVBUF \
	(256 << 10)         /* bytes that one receives before it is read */
#define LISTEN_FDS_MAX 1024 /* descriptors that systemd(1) opened for us */

static bool
is_unix(const struct endpoint *ep)
{
	return ep->kind == EP_UNIX_PATH || ep->kind == EP_UNIX_ABSTRACT;
}

/* A proxy whose clients get UDP sockets, too. */
static bool
has_udp_relays(const struct map *map)
{
	return map->n_targets && map->targets->kind == EP_PROXY &&
	    !map->n_hops && !is_unix(&map->listen);
}

/* What one helper opens: all the listeners of a map for one protocol. */
struct bind_job {
	const struct endpoint *side;
	enum proto proto;
	bool offload;
	bool proxy; /* whose clients get UDP sockets too */
	bool spare; /* these are opened now */
	struct listener *listener;
	size_t listeners, spares;
	struct sockaddr_storage addr; /* the one that failed */
	unsigned flags;               /* and those of it, IFA_F_TENTATIVE */
	mode_t mode;                  /* of a UNIX socket; 0: by the umask */
	struct cred owner;            /* where that is given */
};

/*
 * Removes a socket file that no socket is bound to, and nothing else. A datagram
 * socket asks: connect(2) refuses to join it to a listener (EPROTOTYPE), which
 * learns nothing of it.
 */
static int
remove_stale(const struct sockaddr_storage *addr, socklen_t length)
{
	const void *p = addr;
	const struct sockaddr_un *un = p;
	struct stat st;
	int fd, error = EADDRINUSE;

	if (lstat(un->sun_path, &st) == 0 && !S_ISSOCK(st.st_mode)) {
		errno = ENOTSOCK;
		return -1;
	}
	fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (fd == -1)
		return -1;
	if (connect(fd, p, length) == -1 && errno == ECONNREFUSED)
		error = unlink(un->sun_path) == 0 ? 0 : errno;
	close(fd);
	errno = error;
	return error ? -1 : 0;
}

/* By descriptor: whoever may rename files there has us change no other one. */
static int
set_owner(const struct bind_job *o, const char *path)
{
	int fd = open(path, O_PATH | O_NOFOLLOW | O_CLOEXEC), result = -1;
	struct stat st;

	if (fd == -1)
		return -1;
	if (fstat(fd, &st) == 0 && S_ISSOCK(st.st_mode))
		result =
		    fchownat(fd, "", o->owner.uid, o->owner.gid, AT_EMPTY_PATH);
	close(fd);
	return result;
}

/* It is made with its permissions, and no one can connect before listen(2). */
static int
bind_path(const struct bind_job *o, int fd, socklen_t length)
{
	const void *p = &o->addr;
	const struct sockaddr_un *un = p;
	int saved;

	if (o->mode && (fchmod(fd, o->mode) == -1 || umask(0) == (mode_t)-1))
		return -1;
	if (bind(fd, p, length) == -1 &&
	    (errno != EADDRINUSE || remove_stale(p, length) == -1 ||
		bind(fd, p, length) == -1))
		return -1;
	if ((!o->owner.explicit || set_owner(o, un->sun_path) == 0) &&
	    listen(fd, BACKLOG) == 0)
		return 0;
	saved = errno;
	unlink(un->sun_path);
	errno = saved;
	return -1;
}

/* A spare hears nothing before it is given to a client, nor after that. */
static int
prepare_udp_relay(int fd)
{
	const int room = UDP_RELAY_RCVBUF;

	setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &room, sizeof(room));
	return datagram_mute(fd);
}

/* Addresses of a UDP port are not shared: SO_REUSEADDR would let others in. */
static void
set_options(const struct bind_job *o, int fd, int family)
{
	const int on = 1,
		  v6only = o->side->kind != EP_ANY || o->proto == PROTO_UDP;

	if (family == AF_INET6)
		setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &v6only,
		    sizeof(v6only));
	if (o->proto == PROTO_UDP) {
		datagram_set_options(fd, family, true, o->offload);
		return;
	}
	sock_set_stream_options(fd);
	if (family != AF_UNIX)
		setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
}

static bool
is_loopback(const struct endpoint *ep)
{
	if (ep->kind == EP_IPV4)
		return ep->addr.s6_addr[0] == 127;
	return ep->kind == EP_LOOPBACK ||
	    (ep->kind == EP_IPV6 && IN6_IS_ADDR_LOOPBACK(&ep->addr));
}

/* bind(2) takes 127.0.0.1 while lo is down, and then nobody can connect. */
static bool
lo_is_down(int fd)
{
	struct ifreq lo = {.ifr_name = "lo"};

	return ioctl(fd, SIOCGIFFLAGS, &lo) == 0 && !(lo.ifr_flags & IFF_UP);
}

/* errno stays as it was. */
static void
note_flags(struct bind_job *o)
{
	struct sockaddr_in6 in6;
	int saved = errno;

	o->flags = 0;
	if (saved == EADDRNOTAVAIL && o->addr.ss_family == AF_INET6) {
		memcpy(&in6, &o->addr, sizeof(in6));
		o->flags = listen_address_flags(&in6);
	}
	errno = saved;
}

/* Bound and not listening yet: nobody can connect to what may yet fail. */
static int
open_socket(struct bind_job *o, unsigned index, int family)
{
	int type = o->proto == PROTO_UDP ? SOCK_DGRAM : SOCK_STREAM;
	const void *addr = &o->addr;
	socklen_t length;
	int fd;

	length = endpoint_sockaddr(&o->addr, o->side, index, family);
	if (length == 0)
		return -1;
	fd = socket(o->addr.ss_family, type | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (fd == -1)
		return -1;
	set_options(o, fd, o->addr.ss_family);
	if (o->spare && prepare_udp_relay(fd) == -1)
		return close_keep_errno(fd);
	if (is_loopback(o->side) && lo_is_down(fd))
		errno = ENETDOWN;
	else if (o->side->kind == EP_UNIX_PATH) {
		if (bind_path(o, fd, length) == 0)
			return fd;
	} else if (bind(fd, addr, length) == 0)
		return fd;
	note_flags(o);
	return close_keep_errno(fd);
}

static int
add_listener(struct bind_job *o, unsigned index, int family)
{
	int fd = open_socket(o, index, family);

	if (fd == -1)
		return -1;
	o->listener[o->listeners++] = (struct listener){
	    .fd = fd,
	    .port_index = (uint16_t)index,
	    .family = o->addr.ss_family,
	};
	return 0;
}

/*
 * IPv6 may be switched off: then a bare port is left without ::1, and ":PORT"
 * is IPv4 only. ":PORT" of TCP is one socket for both; of UDP it is two, since
 * only so each knows which address a datagram was sent to.
 */
static int
open_port(struct bind_job *o, unsigned index)
{
	bool any = o->side->kind == EP_ANY;

	if (any && o->proto == PROTO_TCP) {
		if (add_listener(o, index, AF_INET6) == 0)
			return 0;
		return errno == EAFNOSUPPORT ? add_listener(o, index, AF_INET)
					     : -1;
	}
	if (!any && o->side->kind != EP_LOOPBACK)
		return add_listener(o, index, AF_UNSPEC);
	if (add_listener(o, index, AF_INET) == -1)
		return -1;
	if (add_listener(o, index, AF_INET6) == 0)
		return 0;
	return errno == EAFNOSUPPORT || errno == EADDRNOTAVAIL ? 0 : -1;
}

/*
 * Opens the sockets that a proxy's clients may send UDP to, at the address
 * where it listens: no connection can open one there. They are deaf until
 * one is given to a client.
 */
static int
open_udp_relays(void *arg)
{
	struct bind_job *o = arg;
	struct endpoint ep = *o->side;
	struct bind_job udp = *o;
	int result = 0;

	ep.port_first = ep.port_last = 0;
	udp.side = &ep;
	udp.proto = PROTO_UDP;
	udp.offload = false;
	udp.spare = true;
	for (int i = 0; i < UDP_RELAYS && result == 0; i++)
		result = open_port(&udp, 0);
	o->spares = udp.listeners - o->listeners;
	o->addr = udp.addr;
	return result;
}

/* In the helper: allocates nothing, touches only the opening. */
static int
open_ports(void *arg)
{
	struct bind_job *o = arg;

	for (unsigned i = 0;
	     i <= (unsigned)(o->side->port_last - o->side->port_first); i++)
		if (open_port(o, i) == -1)
			return -1;
	return o->proxy ? open_udp_relays(o) : 0;
}

static const char *
bind_hint(const struct bind_job *o, int err)
{
	static const struct {
		int err;
		const char *inet, *local;
	} hints[] = {
	    {EADDRINUSE, "the port is taken (ss -ltunp there shows by whom)",
		"somebody listens there"},
	    {ENOTSOCK, "", "a file is there that is no socket"},
	    {EPERM, "", "no permission to give it to its owner="},
	    {EACCES,
		"a low port takes CAP_NET_BIND_SERVICE, or there: sysctl "
		"net.ipv4.ip_unprivileged_port_start",
		"no permission to make it"},
	    {EADDRNOTAVAIL, "no such address there (ip addr shows them)", ""},
	    {ENODEV, "no such interface there (ip link shows them)", ""},
	    {EMFILE, "too many open files (ulimit -n)",
		"too many open files (ulimit -n)"},
	    {ENOENT, "no socket of that name and kind was handed to us",
		"no such directory"},
	};

	if (err == EADDRNOTAVAIL && o->flags & IFA_F_DADFAILED)
		return "another host has that address (dadfailed)";
	if (err == EADDRNOTAVAIL && o->flags & IFA_F_TENTATIVE)
		return "the address is still tentative (--wait waits for it)";
	for (size_t i = 0; i < ARRAY_LEN(hints); i++)
		if (hints[i].err == err)
			return is_unix(o->side) ? hints[i].local
						: hints[i].inet;
	return "bind";
}

static void
log_bind_error(const struct bind_job *o, const struct map *map, int err,
    bool waits)
{
	bool named = map->listen_ns.kind == NS_NAME;
	const void *addr = &o->addr;
	const char *where, *does = "cannot listen";
	char text[SOCKADDR_STRLEN];

	if (waits && listen_absent(map, err))
		does = "waits to listen";
	where = is_unix(o->side) || o->side->kind == EP_SYSTEMD
	    ? o->side->name
	    : sockaddr_format(addr, text);
	if (err == ENODEV && o->side->zone)
		where = o->side->zone;
	if (err == ENETDOWN) /* as `ip netns add` leaves it */
		log_error("'%s': %s on %s: lo is down (ip %s%s%s"
			  "link set lo up%s)",
		    map->spec, does, where, named ? "-n " : "",
		    named ? map->listen_ns.spec : "", named ? " " : "",
		    named ? "" : " there");
	else
		log_error("'%s': %s on %s: %s: %s", map->spec, does, where,
		    bind_hint(o, err), errno_name(err));
}

/* The file that a UNIX listener has made. */
static bool
stat_unix_path(const struct map *map, struct stat *file)
{
	return map->listen.kind == EP_UNIX_PATH &&
	    lstat(map->listen.name, file) == 0;
}

int
systemd_fd_count(void)
{
	const char *fds = getenv("LISTEN_FDS");
	uint32_t n = 0;

	return fds && parse_uint(fds, 0, LISTEN_FDS_MAX, &n) ? (int)n : 0;
}

/* True if a descriptor that was handed to us is of that kind. */
static bool
is_listener(int fd, enum proto proto, sa_family_t *family)
{
	struct sockaddr_storage addr = {0};
	socklen_t length = sizeof(addr), size = sizeof(int);
	void *p = &addr;
	int type = 0;

	if (getsockname(fd, p, &length) == -1 ||
	    getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &size) == -1)
		return false;
	*family = addr.ss_family;
	return proto == PROTO_UDP
	    ? type == SOCK_DGRAM && addr.ss_family != AF_UNIX
	    : type == SOCK_STREAM;
}

/* All that have the name, of the right kind. Ours is a copy, to be closed. */
static int
adopt_systemd_fds(struct bind_job *o, const struct endpoint *ep)
{
	const char *name = getenv("LISTEN_FDNAMES");
	size_t length = strlen(ep->name);

	for (int fd = 3; name && fd < 3 + systemd_fd_count(); fd++) {
		struct listener *l = &o->listener[o->listeners];

		if (strcspn(name, ":") == length &&
		    memcmp(name, ep->name, length) == 0 &&
		    is_listener(fd, o->proto, &l->family)) {
			l->fd = fcntl(fd, F_DUPFD_CLOEXEC, 3);
			if (l->fd == -1)
				return -1;
			fcntl(l->fd, F_SETFL, O_NONBLOCK);
			o->listeners++;
			set_options(o, l->fd, l->family);
		}
		name = strchr(name, ':');
		name += name ? 1 : 0;
	}
	errno = ENOENT;
	return o->listeners ? 0 : -1;
}

void
listen_reopen_udp_relays(struct listeners *set, const struct map *map)
{
	struct bind_job o = {.side = &map->listen,
	    .listener = set->items,
	    .listeners = set->count};

	if (!has_udp_relays(map))
		return;
	while (set->n_udp_relays)
		close(set->items[set->count + --set->n_udp_relays].fd);
	if (ns_call(&map->listen_ns, open_udp_relays, &o, NULL) == 0)
		set->n_udp_relays = o.spares;
	while (o.spares > set->n_udp_relays)
		close(set->items[set->count + --o.spares].fd);
}

bool
listen_reusable(const struct map *a, const struct map *b)
{
	return ns_same(&a->listen_ns, &b->listen_ns) &&
	    a->no_offload == b->no_offload && a->unix_mode == b->unix_mode &&
	    a->owner_cred.uid == b->owner_cred.uid &&
	    a->owner_cred.gid == b->owner_cred.gid &&
	    (a->targets->kind == EP_PROXY) == (b->targets->kind == EP_PROXY) &&
	    !a->n_hops == !b->n_hops &&
	    strcmp(a->listen.arg, b->listen.arg) == 0;
}

int
listen_open(struct listeners *set, const struct map *map, enum proto proto,
    int *entered, int quiet_errno, bool waits)
{
	struct bind_job o = {
	    .side = &map->listen,
	    .proto = proto,
	    .offload = !map->no_offload,
	    .proxy = has_udp_relays(map),
	    .mode = map->unix_mode,
	    .owner = map->owner_cred,
	};
	size_t ports =
	    (size_t)(map->listen.port_last - map->listen.port_first) + 1;
	struct stat file;
	int result, saved;

	*entered = 1;
	*set = (struct listeners){0};
	if (map->listen.kind == EP_SYSTEMD)
		ports = systemd_fd_count() + 1;
	o.listener = calloc(2 * (ports + UDP_RELAYS), sizeof(*o.listener));
	if (!o.listener) {
		log_error("%s", strerror(errno));
		return -1;
	}
	if (map->listen.kind == EP_SYSTEMD)
		result = adopt_systemd_fds(&o, &map->listen);
	else
		result = ns_call(&map->listen_ns, open_ports, &o, entered);
	saved = errno;
	set->items = o.listener;
	set->count = o.listeners;
	set->n_udp_relays = o.spares;
	if (stat_unix_path(map, &file)) {
		set->dev = file.st_dev;
		set->ino = file.st_ino;
	}
	if (result == -1 && *entered && saved != quiet_errno)
		log_bind_error(&o, map, saved, waits);
	errno = saved;
	return result;
}

/*
 * Ends listen(2) for all who hold the socket, whatever they do, and leaves it
 * bound, as if it had never listened: also one that `ss -K` has shut down.
 */
static void
disconnect(int fd)
{
	const struct sockaddr none = {.sa_family = AF_UNSPEC};
	socklen_t size = sizeof(int);
	int error;

	if (connect(fd, &none, sizeof(none)) == 0)
		getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &size);
}

/* Two maps on one port are both bound; the second one that listens fails. */
int
listen_start(const struct listeners *set, const struct map *map,
    int quiet_errno)
{
	struct bind_job o = {.side = &map->listen};
	socklen_t length = sizeof(o.addr);
	void *addr = &o.addr;
	int saved;

	for (size_t i = 0; i < set->count; i++) {
		if (listen_accepts(set->items[i].fd))
			continue;
		disconnect(set->items[i].fd);
		if (listen(set->items[i].fd, BACKLOG) == 0)
			continue;
		saved = errno;
		getsockname(set->items[i].fd, addr, &length);
		if (saved != quiet_errno)
			log_bind_error(&o, map, saved, false);
		errno = saved;
		return -1;
	}
	return 0;
}

/*
 * From here on no TCP client can connect, whoever else has a listener open. Those
 * of systemd(1) are its own: only our copies of them end.
 */
void
listen_close(struct listeners *set, const struct map *map)
{
	bool handed = map->listen.kind == EP_SYSTEMD;
	struct stat file;

	if (set->count && stat_unix_path(map, &file) &&
	    file.st_dev == set->dev && file.st_ino == set->ino)
		unlink(map->listen.name);
	for (size_t i = 0; i < set->count + set->n_udp_relays; i++) {
		if (!handed && i < set->count &&
		    listen_accepts(set->items[i].fd))
			disconnect(set->items[i].fd);
		close(set->items[i].fd);
	}
	free(set->items);
	*set = (struct listeners){0};
}
