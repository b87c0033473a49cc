/* Finds the addresses of targets and hops in the current namespace. */

#include <errno.h>
#include <netdb.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/io.h"
#include "base/sandbox.h"
#include "config/endpoint.h"
#include "config/map.h"
#include "dial/attempt.h"
#include "dial/resolve.h"
#include "dns/files.h"
#include "dns/query.h"
#include "netns.h"

#define READABLE_DIRS 24

/* A process has one map. */
static struct dns_source source;

static int
prepare_socket(int fd, int family, const void *map)
{
	return set_source_options(fd, map, family);
}

/* All processes of the map share the times. Without them, nothing fails. */
static _Atomic msec *
share_times(void)
{
	void *p = mmap(NULL, sizeof(_Atomic msec[DNS_SERVERS_MAX]),
	    PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);

	return p == MAP_FAILED ? NULL : p;
}

int
resolver_open(const struct map *map, int root)
{
	const struct ns *ns = &map->target_ns;
	const char *name = ns->kind == NS_NAME ? ns->spec : NULL;

	if (!map_has_names(map)) {
		if (root != -1)
			close(root);
		return 0;
	}
	source.servers = map->dns;
	source.silent = share_times();
	source.prepare = prepare_socket;
	source.prepare_arg = map;
	return dns_files_open(&source.files, name, root, ns_pid(ns));
}

const struct dns_source *
resolver_source(void)
{
	return source.prepare ? &source : NULL;
}

size_t
resolver_fds(int fds[RESOLVER_FDS])
{
	size_t n = 0;

	if (source.prepare && source.files.etc != -1)
		fds[n++] = source.files.etc;
	if (source.prepare && source.files.root != -1)
		fds[n++] = source.files.root;
	return n;
}

void
resolver_limit_files(unsigned role)
{
	int dirs[READABLE_DIRS] = {0};
	size_t n = source.prepare
	    ? dns_files_dirs(&source.files, dirs, READABLE_DIRS)
	    : 0;

	sandbox_limit_files(role, dirs, n);
	while (n--)
		close(dirs[n]);
}

size_t
literal_count(const struct endpoint *ep)
{
	return ep->kind == EP_LOOPBACK ? 2 : 1;
}

int
literal_addr(struct target_addr *to, const struct endpoint *ep, unsigned index,
    size_t i)
{
	to->length = endpoint_sockaddr(&to->addr, ep, index,
	    i == 0 ? AF_INET : AF_INET6);
	return to->length ? 0 : -1;
}

static size_t
look_up(struct target_addr *out, size_t max, const struct endpoint *ep,
    unsigned index, int type)
{
	const struct addrinfo hints = {.ai_socktype = type};
	struct addrinfo *list, *ai;
	char port[8];
	size_t n = 0;
	int error;

	snprintf(port, sizeof(port), "%u", ep->port_first + index);
	error = getaddrinfo(ep->name, port, &hints, &list);
	if (error) {
		errno = error == EAI_SYSTEM ? errno : error;
		return 0;
	}
	for (ai = list; ai && n < max && n < RESOLVE_MAX; ai = ai->ai_next) {
		memset(&out[n].addr, 0, sizeof(out[n].addr));
		memcpy(&out[n].addr, ai->ai_addr, ai->ai_addrlen);
		out[n++].length = ai->ai_addrlen;
	}
	freeaddrinfo(list);
	return n;
}

/*
 * Arms the SIGALRM that limits getaddrinfo(3), which has no deadline. The
 * signal ends the process, and so resets the client, as a failed dial does.
 */
static void
arm_resolver_timeout(msec deadline)
{
	struct itimerval timer = {0};
	int timeout = io_timeout(deadline);

	if (timeout == -1)
		return;
	timeout = timeout ? timeout : 1;
	timer.it_value.tv_sec = timeout / 1000;
	timer.it_value.tv_usec = timeout % 1000 * 1000L;
	setitimer(ITIMER_REAL, &timer, NULL);
}

size_t
resolve_host(struct target_addr *out, const struct endpoint *ep, unsigned index,
    msec deadline)
{
	size_t n;

	arm_resolver_timeout(deadline);
	n = look_up(out, RESOLVE_MAX, ep, index, SOCK_STREAM);
	setitimer(ITIMER_REAL, &(struct itimerval){0}, NULL);
	return n;
}

/* Appends the addresses of a target. Returns how many, or 0 with errno. */
static size_t
append_target(struct target_addr *out, size_t max, const struct endpoint *ep)
{
	size_t n = 0, count = literal_count(ep);

	if (ep->kind == EP_HOST)
		return look_up(out, max, ep, 0, SOCK_DGRAM);
	while (n < count && n < max && literal_addr(&out[n], ep, 0, n) == 0)
		n++;
	return n;
}

size_t
resolve_targets(const struct map *map, struct target_addr *out, size_t max)
{
	size_t n = 0, end;

	for (size_t i = 0; i < map->n_targets; i++) {
		end = n + append_target(out + n, max - n, &map->targets[i]);
		while (n < end)
			out[n++].target = (uint32_t)i;
	}
	return n;
}
