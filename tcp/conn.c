/* Runs the process of one connection: dials its target, relays, exits. */

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/addr.h"
#include "base/fd.h"
#include "base/io.h"
#include "base/memory.h"
#include "base/report.h"
#include "base/sandbox.h"
#include "base/seccomp.h"
#include "base/sock.h"
#include "config/endpoint.h"
#include "config/map.h"
#include "dial/conn.h"
#include "dial/dial.h"
#include "dial/resolve.h"
#include "proxy/forward.h"
#include "proxy/proxy_protocol.h"
#include "proxy/reach.h"
#include "proxy/server.h"
#include "relay.h"
#include "tcp/conn.h"
#include "tcp/handover.h"
#include "tcp/original.h"
#include "udp/associate.h"

#define CLIENT_FD SANDBOX_CLIENT_FD

/* Too large for the stack. Aligned for conn_forget(). */
static _Alignas(4096) struct proxy_session session;
static struct pp_tlvs tlvs;

/*
 * Moves the client to CLIENT_FD. Closes all other descriptors of the mapper,
 * except the n of `fds`, those for UDP, if any, and those of names. Descriptor
 * 2, the log, leads to /dev/null as 0 does, because the mapper logs for its
 * connections.
 */
static void
keep_client_fds(struct conn *conn, const int *fds, size_t n_fds, int last_fd)
{
	int client = conn->client, keep[RESOLVER_FDS + 5];
	size_t n = resolver_fds(keep);

	if (dup3(STDIN_FILENO, STDERR_FILENO, O_CLOEXEC) == -1)
		_exit(1);
	for (size_t i = 0; i < n_fds; i++)
		keep[n++] = fds[i];
	for (size_t i = 0; i < n; i++)
		last_fd = keep[i] > last_fd ? keep[i] : last_fd;
	last_fd = client > last_fd ? client : last_fd;
	conn->client = CLIENT_FD;
	if (client != CLIENT_FD && dup3(client, CLIENT_FD, O_CLOEXEC) == -1)
		_exit(1);
	keep[n++] = CLIENT_FD;
	if (conn->udp_answer != -1) {
		keep[n++] = conn->udp_answer;
		keep[n++] = conn->udp_ask;
	}
	fd_close_except(keep, n, last_fd);
}

/*
 * Gets the address that the client connected to and, from the PROXY header of
 * an accept-proxy= peer, the address of the client. Returns -1 with errno.
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
	conn->tlvs = &tlvs;
	if (pp_read(&io, &from, &conn->local, &tlvs) == -1) {
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
	    !reach_allows(conn->map, &addr)) {
		conn->report->peer = unmap_v4(&addr);
		return fail_errno(EACCES);
	}
	conn->requested = target;
	fd = dial(conn, target_error);
	conn->requested = NULL;
	return fd;
}

/*
 * Limits what this process can do to `flags`, because input of clients has been
 * parsed. Does nothing without SANDBOX_MAY_NARROW, which *role keeps only if
 * `flags` have it. Returns -1 with errno.
 */
static int
narrow_sandbox(unsigned *role, unsigned flags)
{
	if (!(*role & SANDBOX_MAY_NARROW) || *role == flags)
		return 0;
	*role = flags;
	return sandbox_seccomp(flags);
}

/* Closes a target that has answered, with an end of stream. */
static void
close_target(int target)
{
	sock_reset_on_close(target, false);
	close(target);
}

/*
 * Forwards a plain HTTP request. Returns the socket that relay() is to serve;
 * or -1, with errno, or with *served set for a request that was answered.
 */
static int
forward_http(struct conn *conn, int target, int *target_error, bool *served)
{
	enum forward next =
	    proxy_forward(&session, target, conn->report, target_error);

	if (next == FORWARD_TUNNEL)
		return target;
	if (next == FORWARD_FAILED)
		return close_keep_errno(target);
	close_target(target);
	*served = true;
	if (next == FORWARD_NEXT && proxy_wait_request(&session))
		return -1;
	proxy_close(&session);
	conn->report->end = END_CLOSED;
	return fail_errno(0);
}

/*
 * Connects to the target of the request that was read, and as above. A client
 * of plain HTTP may send more requests, for which names are looked up.
 */
static int
serve_request(struct conn *conn, unsigned *role, int *target_error,
    bool *served)
{
	const unsigned http =
	    *role & ~(unsigned)(SANDBOX_FORK | SANDBOX_HANDOVER);
	int target;

	if (session.kind == REQUEST_HTTP && narrow_sandbox(role, http) == -1)
		return -1;
	conn->deadline = session.client.deadline;
	target = dial_requested(conn, &session.target, target_error);
	if (target == -1)
		return -1;
	if (session.kind == REQUEST_HTTP)
		return forward_http(conn, target, target_error, served);
	return proxy_send_reply(&session, 0) == 0 ? target
						  : close_keep_errno(target);
}

/*
 * Relays the client's datagrams, with the filter of a UDP mapper. Returns -1,
 * with errno 0 after END_CLOSED; without an end if the client gets no socket.
 */
static int
relay_datagrams(struct conn *conn, unsigned *role)
{
	const unsigned udp = SANDBOX_UDP |
	    (*role &
		(SANDBOX_NAMES | SANDBOX_PROXY | SANDBOX_UNIX | SANDBOX_BIND |
		    SANDBOX_DEVICE));
	const struct io answer = {conn->udp_answer, CLIENT_FD, conn->deadline};

	conn->udp_fd = handover_ask(conn->udp_ask, &answer);
	if (conn->udp_fd == -1)
		return -1;
	conn->report->end = END_LOCAL;
	if (narrow_sandbox(role, udp) == -1)
		return -1;
	conn->report->end = (int32_t)udp_associate(conn);
	return fail_errno(conn->report->end == END_CLOSED ? 0 : errno);
}

/* Leaves errno as it is. */
static void
give_up_udp(struct conn *conn)
{
	int error = errno;

	session.udp_offered = false;
	if (conn->kept)
		return;
	close(conn->udp_ask);
	conn->udp_answer = close_keep_errno(conn->udp_answer);
	sandbox_set_rlimits(false);
	errno = error;
}

/*
 * Serves the client of a proxy. Returns the socket of the requested target, or
 * -1 with errno and the end in the report, after the reply to the client. A
 * client that was silent gets no reply.
 */
static int
serve_proxy_client(struct conn *conn, unsigned *role, int *target_error)
{
	bool requested = false, served = true;
	int target = -1, error;

	session.map = conn->map;
	session.client = (struct io){CLIENT_FD, -1, conn->deadline};
	session.udp_offered = conn->udp_answer != -1;
	session.report = conn->report;
	while (served && !conn->report->end) {
		served = false;
		requested = proxy_read_request(&session) == 0;
		if (requested && session.udp)
			break;
		if (conn->udp_answer != -1)
			give_up_udp(conn);
		if (requested)
			target =
			    serve_request(conn, role, target_error, &served);
	}
	if (requested && session.udp && relay_datagrams(conn, role) == -1 &&
	    conn->report->end)
		return -1;
	error = errno;
	endpoint_free(&session.target);
	if (target != -1 || conn->report->end == END_CLOSED)
		return target;
	if (!conn->report->end)
		conn->report->end = !requested ? END_HANDSHAKE
		    : session.udp              ? END_LOCAL
					       : END_DIAL;
	if (requested || error != ETIMEDOUT)
		proxy_send_error_and_close(&session, error);
	return fail_errno(error);
}

/*
 * Returns the socket of the target, and in *target_error the error that the
 * socket has met, or 0; or -1 with errno.
 */
static int
connect_target(struct conn *conn, unsigned *role, int *target_error)
{
	struct endpoint original;

	if (read_client_identity(conn) == -1)
		return -1;
	if (conn->map->targets->kind == EP_PROXY)
		return serve_proxy_client(conn, role, target_error);
	if (!map_is_original(conn->map))
		return dial(conn, target_error);
	original_endpoint(&original, conn);
	conn->report->peer = conn->original;
	return dial_requested(conn, &original, target_error);
}

/* Reports, with errno, the end of a connection that was not relayed. */
static int
unrelayed(struct conn_report *report, enum end_reason end)
{
	report->error = errno;
	report->end = (int32_t)end;
	return end != END_CLOSED;
}

void
conn_init(struct conn *conn, const int *fds, size_t n, int last_fd)
{
	keep_client_fds(conn, fds, n, last_fd);
	sandbox_set_rlimits(conn->udp_answer != -1 || conn->kept);
}

int
conn_serve(struct conn *conn, unsigned role)
{
	struct conn_report *report = conn->report;
	const struct map *map = conn->map;
	int target, target_error = 0, result;
	bool inet;

	if (conn->peer.sa.sa_family == AF_UNIX)
		sock_set_oobinline(CLIENT_FD);
	target = connect_target(conn, &role, &target_error);
	if (target == -1)
		return unrelayed(report,
		    errno == ECONNABORTED ? END_CLIENT
			: report->end     ? (enum end_reason)report->end
					  : END_DIAL);
	if (!conn->kept)
		resolver_close();
	if (conn->epoll == -1)
		conn->epoll = epoll_create1(EPOLL_CLOEXEC);
	if (conn->epoll == -1 || narrow_sandbox(&role, SANDBOX_RELAY) == -1) {
		close_keep_errno(target);
		return unrelayed(report, END_LOCAL);
	}
	inet = sockaddr_is_inet(&conn->peer) && sockaddr_is_inet(&report->peer);
	result = relay(conn->epoll, CLIENT_FD, target, inet, target_error,
	    &map->times, report);
	if (conn->kept)
		close(target);
	return result != 0;
}

_Noreturn void
conn_main(struct conn *conn, int last_fd, unsigned role)
{
	conn_init(conn, NULL, 0, last_fd);
	/* Or it could pass its client to itself, beyond SANDBOX_CLIENT_FD. */
	if (role & SANDBOX_HANDOVER &&
	    narrow_sandbox(&role, role & ~(unsigned)SANDBOX_FORK) == -1)
		_exit(1);
	_exit(conn_serve(conn, role));
}

bool
conn_forget(const struct conn *conn)
{
	if (session.udp)
		return false;
	/* Closing does not, while the mapper has the client open, too. */
	if (conn->epoll != -1)
		epoll_ctl(conn->epoll, EPOLL_CTL_DEL, CLIENT_FD, NULL);
	close(CLIENT_FD);
	proxy_forget(&session);
	if (conn->tlvs)
		memory_wipe(&tlvs, sizeof(tlvs));
	return true;
}
