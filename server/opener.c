/* Opens a UDP socket in the listen namespace for each association. */

/*
 * Theory of operation
 *
 * A mapper is in the target namespace and cannot open sockets in the listen
 * namespace, but a client may ask for UDP at any time. So the mapper of a proxy
 * has an opener, which entered the listen namespace and gave up all rights
 * before the first client came. A connection asks the opener, not the mapper,
 * because close(2) of a descriptor that a hijacked connection has passed can
 * block: then associations of this map are refused, and nothing else.
 *
 * The opener keeps no UDP socket. It keeps one end of a pipe, whose other end
 * it passes with the socket, and so knows how many associations there are.
 */

#include <errno.h>
#include <limits.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/types.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/errname.h"
#include "base/fd.h"
#include "base/io.h"
#include "base/landlock.h"
#include "base/log.h"
#include "base/proctitle.h"
#include "base/sandbox.h"
#include "base/seccomp.h"
#include "config/endpoint.h"
#include "config/map.h"
#include "mapper/command.h"
#include "netns.h"
#include "server/bind.h"
#include "server/opener.h"
#include "tcp/handover.h"

#define OPENER_ROLE     (SANDBOX_BIND | SANDBOX_HANDOVER)
#define OPENER_READY_MS 5000
#define LOW_PORT        1024 /* ports below take a capability */

/* watched[0] is the channel; the others belong to associations. */
struct opener {
	const struct map *map;
	struct pollfd *watched;
	pid_t *pids; /* of the connections, by the same index */
	size_t n, max;
	unsigned next; /* index of the port to try first */
};

/* Closes the descriptors of associations that have ended. */
static void
remove_ended(struct opener *o)
{
	for (size_t i = o->n; i > 0; i--)
		if (o->watched[i].revents) {
			close(o->watched[i].fd);
			o->watched[i] = o->watched[o->n];
			o->pids[i] = o->pids[o->n--];
		}
}

static bool
has_association(const struct opener *o, pid_t pid)
{
	for (size_t i = 1; i <= o->n; i++)
		if (o->pids[i] == pid)
			return true;
	return false;
}

/*
 * Opens a socket for the process that has made fd. Returns -1 with errno:
 * EPERM for a second one, which only a hijacked process asks for.
 */
static int
open_for(struct opener *o, int fd, sa_family_t family, pid_t *pid)
{
	struct ucred cred = {0};
	socklen_t size = sizeof(cred);

	if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &cred, &size) == -1 ||
	    cred.pid <= 0 || has_association(o, cred.pid)) {
		errno = EPERM;
		return -1;
	}
	*pid = cred.pid;
	if (o->n < o->max)
		return bind_udp_relay(o->map, family, &o->next);
	errno = ENOBUFS;
	return -1;
}

static void
log_refusal(const struct opener *o, int err)
{
	const struct port_range *ports = &o->map->udp_ports;

	if (err == ENOBUFS)
		log_ratelimited("'%s': UDP ASSOCIATE refused: there are %zu",
		    o->map->spec, o->max);
	else if (err == EADDRINUSE && ports->first)
		log_ratelimited("'%s': UDP ASSOCIATE refused: no port of "
				"udp-ports=%u-%u is free",
		    o->map->spec, ports->first, ports->last);
	else if (err != EPERM)
		log_ratelimited("'%s': UDP ASSOCIATE refused: %s", o->map->spec,
		    errno_name(err));
}

/* Answers the request that fd came with. */
static void
answer_request(struct opener *o, int fd, sa_family_t family)
{
	pid_t pid;
	int udp_fd = open_for(o, fd, family, &pid), pipe_fd = -1;

	if (udp_fd != -1)
		pipe_fd = handover_grant(fd, udp_fd);
	if (pipe_fd == -1) {
		log_refusal(o, errno);
		handover_refuse(fd, errno);
	} else {
		o->watched[++o->n] = (struct pollfd){.fd = pipe_fd};
		o->pids[o->n] = pid;
	}
	close_keep_errno(udp_fd);
	close_keep_errno(fd);
}

/* Exits if nobody can send another request. */
static void
handle_request(struct opener *o)
{
	sa_family_t family;
	int fd = handover_receive(o->watched[0].fd, &family);

	if (fd != -1)
		answer_request(o, fd, family);
	else if (errno == 0)
		_exit(0);
}

static _Noreturn void
opener_run(struct opener *o)
{
	for (;;) {
		poll(o->watched, o->n + 1, -1);
		remove_ended(o);
		if (o->watched[0].revents)
			handle_request(o);
	}
}

/* Allocates room for associations. Returns -1 with errno. */
static int
opener_init(struct opener *o, const struct map *map, int channel)
{
	const struct port_range *ports = &map->udp_ports;

	o->map = map;
	o->max = ports->first ? 2u * (unsigned)(ports->last - ports->first + 1)
			      : UDP_RELAYS_MAX;
	o->watched = calloc(o->max + 1, sizeof(*o->watched));
	o->pids = calloc(o->max + 1, sizeof(*o->pids));
	if (!o->watched || !o->pids)
		return -1;
	o->watched[0] = (struct pollfd){.fd = channel, .events = POLLIN};
	return 0;
}

/* Gives up all rights. Returns -1 with errno. */
static int
confine_opener(const struct map *map, const struct cred *cred, bool sandbox)
{
	const unsigned first = map->udp_ports.first;

	if (sandbox_drop_privileges(cred,
		first && first < LOW_PORT ? KEEP_LOW_PORTS : KEEP_NONE) == -1)
		return -1;
	if (!sandbox)
		return 0;
	landlock_limit_files(OPENER_ROLE, NULL, 0);
	return sandbox_seccomp(OPENER_ROLE);
}

static _Noreturn void
opener_main(const struct map *map, const struct cred *cred, int channel,
    bool sandbox)
{
	struct opener o = {0};
	int error = 0;

	proctitle_set("opener", " ", map->spec);
	fd_close_except(&channel, 1, INT_MAX);
	if (ns_enter(&map->listen_ns, NULL) == -1 ||
	    opener_init(&o, map, channel) == -1 ||
	    confine_opener(map, cred, sandbox) == -1)
		error = errno;
	if (mapper_send_reply(channel, error) == -1 || error)
		_exit(1);
	opener_run(&o);
}

/* Waits until the opener is ready. Returns -1 with errno. */
static int
await_opener(int channel)
{
	const struct io io = {channel, -1, now_ms() + OPENER_READY_MS};
	int error = ECONNRESET;

	if (io_wait_for(&io, POLLIN) == -1)
		return -1;
	recv(channel, &error, sizeof(error), 0);
	errno = error;
	return error ? -1 : 0;
}

int
opener_spawn(const struct map *map, const struct cred *cred, bool sandbox)
{
	int pair[2];
	pid_t pid;

	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK,
		0, pair) == -1)
		return -1;
	pid = fork();
	if (pid == 0) {
		close(pair[1]);
		opener_main(map, cred, pair[0], sandbox);
	}
	close_keep_errno(pair[0]);
	return pid == -1 || await_opener(pair[1]) == -1
	    ? close_keep_errno(pair[1])
	    : pair[1];
}
