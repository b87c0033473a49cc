/* Dials the target of one connection, and blocks until that is done. */

#include <errno.h>
#include <poll.h>
#include <stdbool.h>
#include <stddef.h>
#include <sys/socket.h>

#include "base/fd.h"
#include "base/io.h"
#include "base/report.h"
#include "base/sock.h"
#include "config/endpoint.h"
#include "config/map.h"
#include "dial/attempt.h"
#include "dial/conn.h"
#include "dial/dial.h"
#include "dial/dialer.h"
#include "dial/resolve.h"
#include "dns/result.h"
#include "netns.h"
#include "proxy/hop.h"
#include "proxy/proxy_protocol.h"

/* Not on the stack, of which a new process copies each page that it uses. */
static struct dns_addr resolved[RESOLVE_MAX];

/*
 * Waits until a pending connect(2) has a result. Checks before it waits,
 * because over loopback the result is there already. Watches the client for a
 * reset only, because a client may end its stream after a request.
 */
static enum attempt
wait_connected(const struct io *io, const struct target_addr *to)
{
	enum attempt result = attempt_poll(io->fd, to);

	if (result != ATTEMPT_WAIT)
		return result;
	return io_wait_for(io, POLLOUT) == -1 ? ATTEMPT_FAILED
					      : attempt_result(io->fd, to);
}

/*
 * Connects a socket, and waits until it is connected. Sets *target_error as
 * dial() does. Returns -1 with errno.
 */
static int
connect_with_deadline(const struct io *io, const struct target_addr *to,
    int *target_error)
{
	enum attempt result;

	while ((result = attempt_connect(io->fd, to)) == ATTEMPT_RETRY) {
		if (client_was_reset(io->abort_fd))
			return -1;
		if (poll_timeout(io->deadline) == 0)
			return fail_errno(ETIMEDOUT);
		poll(NULL, 0, ATTEMPT_RETRY_MS);
	}
	if (result == ATTEMPT_WAIT)
		result = wait_connected(io, to);
	*target_error = result == ATTEMPT_RESET ? errno : 0;
	return result == ATTEMPT_DONE || result == ATTEMPT_RESET ? 0 : -1;
}

/*
 * Returns a socket connected to the current address, or -1 with errno. A hop
 * that has reset the connection has failed.
 */
static int
connect_addr(const struct dialer *d, const struct target_addr *to,
    int *target_error)
{
	struct io io = {
	    .abort_fd = d->conn->client,
	    .deadline = d->addr_deadline,
	};

	if (client_was_reset(io.abort_fd))
		return -1;
	io.fd = attempt_open(d->conn->map, to->addr.ss_family);
	if (io.fd == -1)
		return -1;
	if (connect_with_deadline(&io, to, target_error) == -1 ||
	    (*target_error && d->conn->map->n_hops))
		return close_keep_errno(io.fd);
	return io.fd;
}

/* Has each hop connect to the next one, and the last hop to the target. */
static int
connect_hops(const struct dialer *d, const struct io *io)
{
	const struct map *map = d->conn->map;
	int *status = &d->conn->report->hop_status;

	for (size_t i = 0; i < map->n_hops; i++) {
		unsigned index = 0;
		const struct endpoint *to = i + 1 == map->n_hops
		    ? dialer_target(d, &index)
		    : &map->hops[i + 1].ep;

		if (hop_connect(io, &map->hops[i], to, index, status) == -1)
			return -1;
	}
	return 0;
}

/*
 * A target that resets instead of reading the header stays connected, because
 * it may have sent bytes: see dial(). Not inline, because a process copies each
 * page of the stack that it uses.
 */
__attribute__((noinline)) static int
send_proxy_header(const struct conn *conn, const struct io *io,
    int *target_error)
{
	const struct map *map = conn->map;
	const char *ns = map->listen_ns.kind == NS_SELF || map->no_proxy_netns
	    ? NULL
	    : ns_spec(&map->listen_ns);
	unsigned char header[PP_HEADER_MAX];
	size_t length;

	length = pp_write(header, map->send_proxy, &conn->peer, &conn->local,
	    ns, conn->tlvs);
	if (io_write_all(io, header, length) == 0)
		return 0;
	if (errno != ECONNRESET && errno != EPIPE)
		return -1;
	*target_error = errno;
	return 0;
}

/*
 * Dials the current address. Returns the socket, or -1 with errno. Reports each
 * failure to the dialer except ECONNABORTED, because that is a failure of the
 * client.
 */
static int
dial_addr(struct dialer *d, const struct target_addr *to, int *target_error)
{
	struct io io = {
	    .fd = connect_addr(d, to, target_error),
	    .abort_fd = d->conn->client,
	    .deadline = d->target_deadline,
	};

	if (io.fd == -1) {
		if (errno != ECONNABORTED)
			dialer_addr_failed(d, to);
		return -1;
	}
	dialer_connected(d, to);
	if (connect_hops(d, &io) == 0 &&
	    (!d->conn->map->send_proxy || *target_error ||
		send_proxy_header(d->conn, &io, target_error) == 0))
		return io.fd;
	if (errno != ECONNABORTED)
		dialer_target_failed(d);
	return close_keep_errno(io.fd);
}

/* Returns -1 with ECONNABORTED if the client has reset. */
static int
look_up_name(struct dialer *d)
{
	const struct io limits = {
	    .abort_fd = d->conn->client,
	    .deadline = d->target_deadline,
	};
	unsigned index;
	size_t n = resolve_host(d->resolved, dialer_endpoint(d, &index)->name,
	    &limits, d->conn->report);

	if (!n && errno == ECONNABORTED)
		return -1;
	dialer_resolved(d, n);
	return 0;
}

/* Returns -1 with errno of dial(). */
static int
next_addr(struct dialer *d, struct target_addr *to)
{
	enum dialer_step step;

	while ((step = dialer_next(d, to)) == DIALER_NAME)
		if (look_up_name(d) == -1)
			return -1;
	return step == DIALER_ADDR ? 0 : -1;
}

int
dial(const struct conn *conn, int *target_error)
{
	struct target_addr to;
	struct dialer d;

	*target_error = 0;
	dialer_init(&d, conn, resolved);
	while (next_addr(&d, &to) == 0) {
		int fd = dial_addr(&d, &to, target_error);

		if (fd != -1)
			dialer_succeeded(&d);
		if (fd != -1 || errno == ECONNABORTED)
			return fd;
	}
	return -1;
}
