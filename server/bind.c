/* Opens the sockets of a map, inside its listen namespace. */

#include <arpa/inet.h>
#include <errno.h>
#include <net/if.h>
#include <netinet/in.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

#include <linux/if_addr.h>

#include "base/addr.h"
#include "base/advice.h"
#include "base/errname.h"
#include "base/fd.h"
#include "base/log.h"
#include "base/sock.h"
#include "config/endpoint.h"
#include "config/map.h"
#include "mapper/mapper.h"
#include "netns.h"
#include "server/bind.h"
#include "server/holder.h"
#include "server/listen_check.h"
#include "server/unix_listener.h"
#include "server/upgrade.h"
#include "udp/datagram.h"

#define UDP_RELAY_RCVBUF (256 << 10) /* bytes */

bool
endpoint_is_unix(const struct endpoint *ep)
{
	return ep->kind == EP_UNIX_PATH || ep->kind == EP_UNIX_ABSTRACT;
}

bool
map_offers_udp(const struct map *map)
{
	return map->n_targets && map->targets->kind == EP_PROXY &&
	    !map->n_hops && map->listen.kind != EP_SYSTEMD &&
	    !endpoint_is_unix(&map->listen);
}

/*
 * Sets no SO_REUSEADDR for UDP, because others could then bind to the same
 * port.
 */
void
bind_set_options(const struct bind_job *job, int fd, int family)
{
	const int on = 1;
	const int v6only =
	    job->endpoint->kind != EP_ANY || job->proto == PROTO_UDP;

	if (family == AF_INET6)
		setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &v6only,
		    sizeof(v6only));
	if (job->proto == PROTO_UDP) {
		datagram_set_options(fd, family, true, !job->map->no_offload);
		return;
	}
	sock_set_stream_options(fd);
	if (family != AF_UNIX)
		setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
}

bool
endpoint_is_loopback(const struct endpoint *ep)
{
	if (ep->kind == EP_IPV4)
		return ep->addr.s6_addr[0] == 127;
	return ep->kind == EP_LOOPBACK ||
	    (ep->kind == EP_IPV6 && IN6_IS_ADDR_LOOPBACK(&ep->addr)) ||
	    (ep->kind == EP_HOST && strcasecmp(ep->name, "localhost") == 0);
}

bool
lo_is_down(int fd)
{
	struct ifreq lo = {.ifr_name = "lo"};

	return ioctl(fd, SIOCGIFFLAGS, &lo) == 0 && !(lo.ifr_flags & IFF_UP);
}

static int
bind_path(const struct bind_job *job, int fd, socklen_t length)
{
	const struct map *map = job->map;
	struct unix_address address = {
	    .length = length,
	    .mode = map->unix_mode,
	    .owner = map->owner_cred.explicit ? &map->owner_cred : NULL,
	};

	memcpy(&address.un, &job->addr, sizeof(address.un));
	return unix_bind(fd, &address);
}

/*
 * Binds fd to job->addr. Fails for a loopback address while lo is down: bind(2)
 * would succeed, but no client could connect.
 */
static int
bind_socket(const struct bind_job *job, int fd, socklen_t length)
{
	const void *addr = &job->addr;

	if (endpoint_is_loopback(job->endpoint) && lo_is_down(fd)) {
		errno = ENETDOWN;
		return -1;
	}
	if (job->endpoint->kind == EP_UNIX_PATH)
		return bind_path(job, fd, length);
	return bind(fd, addr, length);
}

/* Sets job->addr_flags. Does not change errno. */
static void
record_addr_flags(struct bind_job *job)
{
	struct sockaddr_in6 in6;
	int saved = errno;

	job->addr_flags = 0;
	if (saved == EADDRNOTAVAIL && job->addr.ss_family == AF_INET6) {
		memcpy(&in6, &job->addr, sizeof(in6));
		job->addr_flags = listen_address_flags(&in6);
	}
	errno = saved;
}

/*
 * Fills in the address to bind to. Where UDP for original would listen on every
 * address, it is loopback: TPROXY hands datagrams over there, and no other
 * datagram of the network comes there, which would go around for ever.
 */
static socklen_t
listen_addr(struct bind_job *job, unsigned index, int family)
{
	const uint32_t loopback = htonl(INADDR_LOOPBACK);
	struct endpoint ep = *job->endpoint;

	if (job->proto == PROTO_UDP && map_is_original(job->map) &&
	    IN6_IS_ADDR_UNSPECIFIED(&ep.addr)) {
		if (ep.kind == EP_IPV4)
			memcpy(&ep.addr, &loopback, sizeof(loopback));
		else if (ep.kind == EP_IPV6)
			ep.addr = in6addr_loopback;
		else
			ep.kind = EP_LOOPBACK;
	}
	return endpoint_sockaddr(&job->addr, &ep, index, family);
}

/* Without this option the kernel drops what TPROXY hands to the socket. */
static int
take_tproxy(const struct bind_job *job, int fd)
{
	const int on = 1;

	if (!map_takes_tproxy(job->map, job->proto))
		return 0;
	return job->addr.ss_family == AF_INET
	    ? setsockopt(fd, IPPROTO_IP, IP_TRANSPARENT, &on, sizeof(on))
	    : setsockopt(fd, IPPROTO_IPV6, IPV6_TRANSPARENT, &on, sizeof(on));
}

/* Returns a bound socket for one port and family, or -1 with errno. */
static int
open_bound_socket(struct bind_job *job, unsigned index, int family)
{
	int type = job->proto == PROTO_UDP ? SOCK_DGRAM : SOCK_STREAM, fd;
	socklen_t length = listen_addr(job, index, family);

	if (length == 0)
		return -1;
	fd = upgrade_take(job->ns_id, &job->addr, length, type);
	if (fd != -1)
		return take_tproxy(job, fd) == 0 ? fd : close_keep_errno(fd);
	fd =
	    socket(job->addr.ss_family, type | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (fd == -1)
		return -1;
	bind_set_options(job, fd, job->addr.ss_family);
	if (take_tproxy(job, fd) == -1)
		return close_keep_errno(fd);
	if (bind_socket(job, fd, length) == 0)
		return fd;
	record_addr_flags(job);
	return close_keep_errno(fd);
}

static int
add_listener(struct bind_job *job, unsigned index, int family)
{
	int fd = open_bound_socket(job, index, family);

	if (fd == -1)
		return -1;
	job->listeners[job->n_listeners++] = (struct listener){
	    .fd = fd,
	    .port_index = (uint16_t)index,
	    .family = job->addr.ss_family,
	};
	return 0;
}

/*
 * Opens one socket for ":PORT" of TCP, for both families. Opens two for a bare
 * port, and for ":PORT" of UDP, because a socket for both families does not
 * tell the local address of a datagram. Where IPv6 is switched off, the IPv4
 * socket suffices.
 */
static int
bind_port(struct bind_job *job, unsigned index)
{
	bool any = job->endpoint->kind == EP_ANY;

	if (any && job->proto == PROTO_TCP) {
		if (add_listener(job, index, AF_INET6) == 0)
			return 0;
		return errno == EAFNOSUPPORT ? add_listener(job, index, AF_INET)
					     : -1;
	}
	if (!any && job->endpoint->kind != EP_LOOPBACK)
		return add_listener(job, index, AF_UNSPEC);
	if (add_listener(job, index, AF_INET) == -1)
		return -1;
	if (add_listener(job, index, AF_INET6) == 0)
		return 0;
	return errno == EAFNOSUPPORT || errno == EADDRNOTAVAIL ? 0 : -1;
}

static unsigned
count_udp_ports(const struct map *map)
{
	return (unsigned)(map->udp_ports.last - map->udp_ports.first) + 1;
}

/* Binds fd to the first free port. Returns -1 with errno. */
static int
bind_udp_port(int fd, const struct map *map, sa_family_t family, unsigned *next)
{
	const unsigned count = count_udp_ports(map);
	struct endpoint ep = map->listen;
	struct sockaddr_storage addr;
	const void *sa = &addr;
	int result = -1;

	ep.port_first = map->udp_ports.first;
	ep.port_last = map->udp_ports.last;
	for (unsigned i = 0; i < count && result == -1; i++) {
		socklen_t length =
		    endpoint_sockaddr(&addr, &ep, *next % count, family);

		*next = *next % count + 1;
		result = length ? bind(fd, sa, length) : -1;
		if (result == -1 && errno != EADDRINUSE)
			break;
	}
	return result;
}

int
bind_udp_relay(const struct map *map, sa_family_t family, unsigned *next)
{
	const struct endpoint *ep = &map->listen;
	const int size = UDP_RELAY_RCVBUF, on = 1;
	int fd;

	if (ep->kind == EP_IPV4 || ep->kind == EP_IPV6)
		family = ep->kind == EP_IPV4 ? AF_INET : AF_INET6;
	fd = socket(family, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (fd == -1)
		return -1;
	if (family == AF_INET6)
		setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &on, sizeof(on));
	datagram_set_options(fd, family, true, false);
	setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &size, sizeof(size));
	return bind_udp_port(fd, map, family, next) == 0 ? fd
							 : close_keep_errno(fd);
}

/*
 * Binds each port of udp-ports= for a moment, so that one that is taken is an
 * error at the start.
 */
static int
check_udp_ports(struct bind_job *job)
{
	const struct port_range *ports = &job->map->udp_ports;
	struct endpoint ep = *job->endpoint;
	struct bind_job udp = *job;
	int result = 0;

	ep.port_first = ports->first;
	ep.port_last = ports->last;
	udp.endpoint = &ep;
	udp.proto = PROTO_UDP;
	for (unsigned i = 0;
	     ports->first && result == 0 && i < count_udp_ports(job->map);
	     i++) {
		result = bind_port(&udp, i);
		while (udp.n_listeners > job->n_listeners)
			close_keep_errno(udp.listeners[--udp.n_listeners].fd);
	}
	job->addr = udp.addr;
	return result;
}

int
bind_map(void *arg)
{
	struct bind_job *job = arg;
	const struct endpoint *ep = job->endpoint;

	for (unsigned i = 0; i < endpoint_ports(ep); i++)
		if (bind_port(job, i) == -1)
			return -1;
	return map_offers_udp(job->map) ? check_udp_ports(job) : 0;
}

/*
 * Returns what the errno of bind(2) means: the process that holds the port, the
 * state of an IPv6 address, or errno_advice(). May write the text into buf.
 */
static const char *
bind_hint(char *buf, const struct bind_job *job, const char *where, int err)
{
	const struct ns *ns = &job->map->listen_ns;
	const bool is_unix = endpoint_is_unix(job->endpoint);
	const struct advice_place place = {
	    .tried = is_unix ? ADVICE_LISTEN_UNIX : ADVICE_LISTEN_INET,
	    .addr = where,
	    .ns = ns_spec(ns),
	};
	struct sockaddr_in6 in6; /* has the port where sockaddr_in has it */
	char holder[64];

	if (err == EADDRNOTAVAIL && job->addr_flags & IFA_F_DADFAILED)
		return "another host has that address (dadfailed)";
	if (err == EADDRNOTAVAIL && job->addr_flags & IFA_F_TENTATIVE)
		return "the address is still tentative (--wait waits for it)";
	if (err == EPERM && map_takes_tproxy(job->map, job->proto))
		return job->proto == PROTO_UDP
		    ? "TPROXY needs CAP_NET_ADMIN there"
		    : "TPROXY needs CAP_NET_ADMIN there (tproxy=off is for "
		      "REDIRECT alone, which needs none)";
	memcpy(&in6, &job->addr, sizeof(in6));
	if (err == EADDRINUSE && !is_unix &&
	    holder_of_port(holder, sizeof(holder), ns, ntohs(in6.sin6_port),
		job->proto == PROTO_UDP)) {
		snprintf(buf, ADVICE_SIZE, "the port is taken by %s", holder);
		return buf;
	}
	return errno_advice(buf, err, &place) ? buf : "bind";
}

void
bind_log_error(const struct bind_job *job, int err, bool waits)
{
	const struct endpoint *ep = job->endpoint;
	const void *addr = &job->addr;
	const char *where, *failure = "cannot listen";
	char text[SOCKADDR_STRLEN], hint[ADVICE_SIZE];

	if (waits && listen_absent(job->map, err))
		failure = "waits to listen";
	where = endpoint_is_unix(ep) || ep->kind == EP_SYSTEMD
	    ? ep->name
	    : sockaddr_format(addr, text);
	if (err == ENODEV && ep->zone)
		where = ep->zone;
	log_error("%s'%s': %s on %s: %s: %s", job->map->origin, job->map->spec,
	    failure, where, bind_hint(hint, job, where, err), errno_name(err));
}
