/* Opens, reuses and closes the listeners of a map. */

#include <errno.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/log.h"
#include "base/sandbox.h"
#include "config/endpoint.h"
#include "config/map.h"
#include "mapper/mapper.h"
#include "netns.h"
#include "server/bind.h"
#include "server/listen.h"
#include "server/listen_check.h"
#include "server/systemd.h"
#include "server/unix_listener.h"

/*
 * Allocates room for the sockets that bind_map() or systemd_adopt_fds() adds.
 */
static struct listener *
alloc_listeners(const struct map *map)
{
	const struct endpoint *ep = &map->listen;
	size_t n_ports = endpoint_ports(ep);

	if (ep->kind == EP_SYSTEMD)
		n_ports = systemd_fd_count() + 1;
	/* Two more for check_udp_ports(). */
	return calloc(2 * n_ports + 2, sizeof(struct listener));
}

static int
adopt_listeners(struct bind_job *job)
{
	int result = systemd_adopt_fds(job->endpoint->name,
	    job->proto == PROTO_UDP, job->listeners, &job->n_listeners);
	int saved = errno;

	for (size_t i = 0; i < job->n_listeners; i++)
		bind_set_options(job, job->listeners[i].fd,
		    job->listeners[i].family);
	errno = saved;
	return result;
}

int
listen_open(struct listeners *set, const struct map *map, enum proto proto,
    int *entered, int quiet_errno, bool waits)
{
	struct bind_job job = {.map = map,
	    .endpoint = &map->listen,
	    .proto = proto,
	    .listeners = alloc_listeners(map)};
	int result, saved;

	*entered = 1;
	*set = (struct listeners){0};
	if (!job.listeners) {
		log_error("%s", strerror(errno));
		return -1;
	}
	job.ns_id = ns_id(&map->listen_ns);
	if (map->listen.kind == EP_SYSTEMD)
		result = adopt_listeners(&job);
	else
		result = ns_call(&map->listen_ns, bind_map, &job, entered);
	saved = errno;
	set->items = job.listeners;
	set->count = job.n_listeners;
	if (map->listen.kind == EP_UNIX_PATH)
		unix_file_record(&set->file, map->listen.name);
	if (result == -1 && *entered && saved != quiet_errno)
		bind_log_error(&job, saved, waits);
	errno = saved;
	return result;
}

bool
listen_reusable(const struct map *a, const struct map *b)
{
	return ns_same(&a->listen_ns, &b->listen_ns) &&
	    a->no_offload == b->no_offload && a->unix_mode == b->unix_mode &&
	    cred_equal(&a->owner_cred, &b->owner_cred) &&
	    (a->targets->kind == EP_PROXY) == (b->targets->kind == EP_PROXY) &&
	    map_is_original(a) == map_is_original(b) &&
	    a->no_tproxy == b->no_tproxy && !a->n_hops == !b->n_hops &&
	    a->udp_ports.first == b->udp_ports.first &&
	    a->udp_ports.last == b->udp_ports.last &&
	    strcmp(a->listen.arg, b->listen.arg) == 0;
}

/*
 * Undoes listen(2) for all processes that have the socket open, and leaves it
 * bound. Also makes a socket usable again that `ss -K` has destroyed.
 */
static void
stop_listening(int fd)
{
	const struct sockaddr none = {.sa_family = AF_UNSPEC};
	socklen_t size = sizeof(int);
	int error;

	if (connect(fd, &none, sizeof(none)) == 0)
		getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &size);
}

static void
log_listen_error(const struct map *map, int fd, int err)
{
	struct bind_job job = {.map = map, .endpoint = &map->listen};
	socklen_t length = sizeof(job.addr);
	void *addr = &job.addr;

	getsockname(fd, addr, &length);
	bind_log_error(&job, err, false);
}

/* Fails with EADDRINUSE if SO_REUSEADDR has let two maps bind to one port. */
int
listen_start(const struct listeners *set, const struct map *map,
    int quiet_errno)
{
	int fd, state, saved;

	for (size_t i = 0; i < set->count; i++) {
		fd = set->items[i].fd;
		state = listen_state(fd);
		if (state == 1)
			continue;
		/* A socket that does listen must not lose its clients. */
		if (state == 0)
			stop_listening(fd);
		if (listen(fd, LISTEN_BACKLOG) == 0)
			continue;
		saved = errno;
		if (saved != quiet_errno)
			log_listen_error(map, fd, saved);
		errno = saved;
		return -1;
	}
	return 0;
}

/* The sockets of systemd(1) go on listening, because others may use them. */
void
listen_close(struct listeners *set, const struct map *map)
{
	bool adopted = map->listen.kind == EP_SYSTEMD;

	if (set->count && map->listen.kind == EP_UNIX_PATH)
		unix_file_remove(&set->file, map->listen.name);
	for (size_t i = 0; i < set->count && !adopted; i++)
		if (listen_state(set->items[i].fd) != 0)
			stop_listening(set->items[i].fd);
	for (size_t i = 0; i < set->count; i++)
		close(set->items[i].fd);
	free(set->items);
	*set = (struct listeners){0};
}
