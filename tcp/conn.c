/* Runs the process of one connection: dials its target, relays, exits. */

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/addr.h"
#include "base/fd.h"
#include "base/io.h"
#include "base/report.h"
#include "base/sandbox.h"
#include "base/sock.h"
#include "config/endpoint.h"
#include "config/map.h"
#include "dial/conn.h"
#include "dial/dial.h"
#include "proxy/forward.h"
#include "proxy/proxy_protocol.h"
#include "proxy/reach.h"
#include "proxy/server.h"
#include "relay.h"
#include "tcp/conn.h"
#include "tcp/handover.h"
#include "udp/associate.h"

#define CLIENT_FD  3
#define CHANNEL_FD 4

/*
 * Moves the client to CLIENT_FD and the channel for UDP, if any, to CHANNEL_FD.
 * Closes all other descriptors of the mapper. Descriptor 2, the log, leads to
 * /dev/null as 0 does, because the mapper logs for its connections.
 */
static void
keep_client_fds(struct conn *conn, int last_fd)
{
	int client = conn->client;

	if (dup3(STDIN_FILENO, STDERR_FILENO, O_CLOEXEC) == -1)
		_exit(1);
	last_fd = client > last_fd ? client : last_fd;
	conn->client = CLIENT_FD;
	if (conn->udp_channel == CLIENT_FD)
		conn->udp_channel = dup3(CLIENT_FD, ++last_fd, O_CLOEXEC);
	if (client != CLIENT_FD && dup3(client, CLIENT_FD, O_CLOEXEC) == -1)
		_exit(1);
	if (conn->udp_channel != -1 && conn->udp_channel != CHANNEL_FD)
		conn->udp_channel =
		    dup3(conn->udp_channel, CHANNEL_FD, O_CLOEXEC);
	fd_close_from(conn->udp_channel == -1 ? CHANNEL_FD : CHANNEL_FD + 1,
	    last_fd);
}

/*
 * Finds out which address the client connected to and, from the PROXY header of
 * an accept-proxy= peer, who the client is. Returns -1 with errno.
 */
static int
read_client_identity(struct conn *conn)
{
	const struct io io = {CLIENT_FD, -1, conn->deadline};
	union sockaddr_inet from = {0};
	struct sockaddr_storage addr = {0};
	socklen_t length = sizeof(addr);

	if (getsockname(CLIENT_FD, (struct sockaddr *)&addr, &length) == 0)
		conn->local = unmap_v4(&addr);
	if (!cidr_match(&conn->map->accept_proxy, &conn->peer))
		return 0;
	if (pp_read(&io, &from, &conn->local) == -1) {
		conn->report->end = END_HANDSHAKE;
		return -1;
	}
	if (from.sa.sa_family)
		conn->peer = conn->report->client = from;
	return 0;
}

/* Dials the requested target, if reach= allows it. Returns as dial(). */
static int
dial_requested(struct conn *conn, const struct endpoint *target,
    int *target_error)
{
	struct sockaddr_storage addr;
	int fd;

	if (endpoint_sockaddr(&addr, target, 0, AF_UNSPEC) &&
	    !reach_allows(conn->map, &addr))
		return fail_errno(EACCES);
	conn->requested = target;
	fd = dial(conn, target_error);
	conn->requested = NULL;
	return fd;
}

/*
 * Gives up, once, what the rest of the connection does not need, because input
 * of clients has been parsed. Returns -1 with errno.
 */
static int
narrow_sandbox(unsigned *role, unsigned flags)
{
	const bool may = *role & SANDBOX_MAY_NARROW;

	*role &= ~(unsigned)SANDBOX_MAY_NARROW;
	return may ? sandbox_narrow(flags) : 0;
}

/* Forwards a plain HTTP request. Returns -1 with errno. */
static int
forward_http(struct conn *conn, unsigned *role, struct proxy_session *s,
    int target, int *target_error)
{
	return narrow_sandbox(role, SANDBOX_FORWARD) == -1
	    ? -1
	    : proxy_forward(s, target, conn->report, target_error);
}

/* Returns the socket of the requested target, or -1 with errno. */
static int
connect_requested(struct conn *conn, unsigned *role, struct proxy_session *s,
    int *target_error)
{
	int target = dial_requested(conn, &s->target, target_error), result;

	if (target == -1)
		return -1;
	result = s->kind == REQUEST_HTTP
	    ? forward_http(conn, role, s, target, target_error)
	    : proxy_send_reply(s, 0);
	return result == 0 ? target : close_keep_errno(target);
}

/* Returns the UDP socket of a client that asked for it, or -1 with errno. */
static int
ask_for_udp(const struct conn *conn)
{
	const struct io io = {conn->udp_channel, CLIENT_FD, conn->deadline};
	int fd = handover_ask(&io);

	close_keep_errno(conn->udp_channel);
	return fd;
}

/*
 * Relays the client's datagrams, with the filter of a UDP mapper. Returns -1
 * with errno, 0 for END_CLOSED.
 */
static int
relay_datagrams(struct conn *conn, unsigned *role)
{
	const unsigned udp = SANDBOX_UDP |
	    (*role & (SANDBOX_NAMES | SANDBOX_UNIX | SANDBOX_BIND));

	conn->udp_fd = ask_for_udp(conn);
	if (conn->udp_fd == -1 || narrow_sandbox(role, udp) == -1)
		return -1;
	conn->report->end = (int32_t)udp_associate(conn);
	return fail_errno(conn->report->end == END_CLOSED ? 0 : errno);
}

/*
 * Serves the client of a proxy. Returns the socket of the requested target, or
 * -1 with errno and the end in the report, after the reply to the client. A
 * client that was silent gets no reply.
 */
static int
serve_proxy_client(struct conn *conn, unsigned *role, int *target_error)
{
	struct proxy_session s = {
	    .map = conn->map,
	    .client = {CLIENT_FD, -1, conn->deadline},
	    .udp_offered = conn->udp_channel != -1,
	    .requested = conn->report->requested,
	};
	bool requested = proxy_read_request(&s) == 0;
	int target = -1, error;

	if (requested && s.udp)
		return relay_datagrams(conn, role);
	if (conn->udp_channel != -1)
		close_keep_errno(conn->udp_channel);
	if (requested)
		target = connect_requested(conn, role, &s, target_error);
	error = errno;
	endpoint_free(&s.target);
	if (target != -1)
		return target;
	if (!conn->report->end)
		conn->report->end = requested ? END_DIAL : END_HANDSHAKE;
	if (requested || error != ETIMEDOUT)
		proxy_send_error_and_close(&s, error);
	return fail_errno(error);
}

/*
 * Returns the socket of the target, and in *target_error the error that the
 * socket has met, or 0; or -1 with errno.
 */
static int
connect_target(struct conn *conn, unsigned *role, int *target_error)
{
	if (read_client_identity(conn) == -1)
		return -1;
	return conn->map->targets->kind == EP_PROXY
	    ? serve_proxy_client(conn, role, target_error)
	    : dial(conn, target_error);
}

/* Ends the process of a connection that is not relayed, with errno. */
static _Noreturn void
exit_unrelayed(struct conn_report *report, enum end_reason end)
{
	report->error = errno;
	report->end = (int32_t)end;
	_exit(end != END_CLOSED);
}

_Noreturn void
conn_main(struct conn *conn, int last_fd, unsigned role)
{
	struct conn_report *report = conn->report;
	const struct map *map = conn->map;
	int target, target_error = 0;
	bool inet;

	keep_client_fds(conn, last_fd);
	sandbox_set_rlimits();
	if (conn->peer.sa.sa_family == AF_UNIX)
		sock_set_oobinline(CLIENT_FD);
	target = connect_target(conn, &role, &target_error);
	if (target == -1)
		exit_unrelayed(report,
		    errno == ECONNABORTED ? END_CLIENT
			: report->end     ? report->end
					  : END_DIAL);
	if (narrow_sandbox(&role, SANDBOX_RELAY) == -1)
		exit_unrelayed(report, END_LOCAL);
	inet = sockaddr_is_inet(&conn->peer) && sockaddr_is_inet(&report->peer);
	_exit(relay(CLIENT_FD, target, inet, target_error, &map->times,
		  report) != 0);
}
