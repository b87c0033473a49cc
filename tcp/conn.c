/* One connection: the life of its process, and the line that is left of it. */

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdbool.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/addr.h"
#include "base/fd.h"
#include "base/io.h"
#include "base/report.h"
#include "base/sandbox.h"
#include "base/sock.h"
#include "config/endpoint.h"
#include "config/map.h"
#include "dial/dial.h"
#include "proxy/conn.h"
#include "proxy/proxy_protocol.h"
#include "proxy/server.h"
#include "relay.h"
#include "tcp/conn.h"

#define CLIENT_FD 3 /* the client's descriptor */

/* Nothing but the client, and that socket, stays open: behind one another. */
static void
keep_client_fds(struct conn *conn, int last)
{
	int client = conn->client;

	last = client > last ? client : last;
	conn->client = CLIENT_FD;
	if (conn->udp_fd == CLIENT_FD)
		conn->udp_fd = dup3(CLIENT_FD, ++last, O_CLOEXEC);
	if (client != CLIENT_FD && dup3(client, CLIENT_FD, O_CLOEXEC) == -1)
		_exit(1);
	if (conn->udp_fd != -1 && conn->udp_fd != CLIENT_FD + 1)
		conn->udp_fd = dup3(conn->udp_fd, CLIENT_FD + 1, O_CLOEXEC);
	fd_close_from(CLIENT_FD + 1 + (conn->udp_fd != -1), last);
}

/* A proxy in front, if it is one of ours, says first who the client is. */
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

/* Who has read words of strangers does nothing more but relay. */
static int
narrow_sandbox(unsigned role)
{
	sandbox_set_rlimits();
	return role & SANDBOX_MAY_NARROW ? sandbox_seccomp(SANDBOX_RELAY) : 0;
}

_Noreturn void
conn_main(struct conn *conn, int last, unsigned role)
{
	struct conn_report *report = conn->report;
	const struct map *map = conn->map;
	int server = -1;
	bool inet;

	keep_client_fds(conn, last);
	if (conn->peer.sa.sa_family == AF_UNIX)
		sock_set_oobinline(CLIENT_FD);
	if (read_client_identity(conn) == 0)
		server = map->targets->kind == EP_PROXY
		    ? proxy_handle_client(conn)
		    : dial(conn);
	inet = sockaddr_is_inet(&conn->peer) && sockaddr_is_inet(&report->peer);
	if (server != -1 && narrow_sandbox(role) == 0)
		_exit(relay(CLIENT_FD, server, inet, conn->refused, &map->times,
			  report) != 0);
	report->error = errno;
	if (server != -1)
		report->end = END_LOCAL;
	else if (report->error == ECONNABORTED)
		report->end = END_CLIENT;
	else if (!report->end)
		report->end = END_DIAL;
	_exit(report->end != END_CLOSED);
}
