/* One connection: the life of its process, and the line that is left of it. */

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "hop.h"
#include "relay.h"
#include "tcp.h"

#define CLIENT_FD 3 /* the client's descriptor */

static bool
is_inet(const union sockaddr_inet *peer)
{
	return peer->sa.sa_family == AF_INET || peer->sa.sa_family == AF_INET6;
}

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
		server = map->targets->kind == SIDE_PROXY
		    ? proxy_handle_client(conn)
		    : dial(conn);
	inet = is_inet(&conn->peer) && is_inet(&report->peer);
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

/*
 * What a proxy's client asked for, as the log has it: HOST:PORT behind the last
 * '@', or HOST where the rest is no port, so that no password of USER:PASSWORD@
 * is shown, and no byte that may pass for another word of the line.
 */
static const char *
asked_text(char *asked)
{
	char *at = strrchr(asked, '@'), *host = at ? at + 1 : asked;
	char *colon = strrchr(host, ':'), *first = strchr(host, ':');
	size_t length = strlen(asked), digits;

	/* It may have been cut in front of the '@'. */
	if (length >= HOSTPORT_MAX - 1)
		return "?";
	digits = colon ? strspn(colon + 1, "0123456789") : 0;
	if (colon &&
	    (colon[1 + digits] || digits < 1 || digits > 5 ||
		(colon != first &&
		    host + strspn(host, "0123456789abcdefABCDEF:.[]") < colon)))
		*first = '\0';
	for (char *s = host; *s; s++)
		if (!isalnum((unsigned char)*s) && !strchr("-._:[]", *s))
			*s = '?';
	return *host ? host : "?";
}

/* What the connection says of it: an untrusted address; or the user's word. */
static const char *
target_text(const struct map *map, struct conn_report *t, char *buf)
{
	t->requested[HOSTPORT_MAX - 1] = '\0';
	if (t->requested[0])
		return asked_text(t->requested);
	if (is_inet(&t->peer))
		return sockaddr_format(&t->peer.sa, buf);
	if (t->target < map->n_targets)
		return map->targets[t->target].arg;
	return "unknown";
}

/* "end=refused error=..." for the line of a connection. */
static const char *
end_text(const struct conn_report *t, int status, char *buf, size_t size)
{
	static const char *const names[] = {
	    [END_NONE] = "killed",
	    [END_CLOSED] = "closed",
	    [END_DIAL] = "dial",
	    [END_CLIENT] = "client-reset",
	    [END_TARGET] = "target-reset",
	    [END_IDLE] = "idle",
	    [END_LOCAL] = "local",
	    [END_HANDSHAKE] = "handshake",
	};
	enum end_reason end = END_NONE;

	if (t->end >= END_NONE && t->end <= END_HANDSHAKE)
		end = (enum end_reason)t->end;
	if (status == 0 && end == END_NONE)
		return "stopped";
	if (WIFSIGNALED(status) && WTERMSIG(status) == SIGALRM && t->resolving)
		snprintf(buf, size, "dial error=%s", errno_name(ETIMEDOUT));
	else if (WIFSIGNALED(status))
		snprintf(buf, size, "killed signal=%d", WTERMSIG(status));
	else if (t->hop_status)
		snprintf(buf, size, "%s error=%s hop=%d", names[end],
		    errno_name(t->error), t->hop_status);
	else if (t->error)
		snprintf(buf, size, "%s error=%s", names[end],
		    errno_name(t->error));
	else
		snprintf(buf, size, "%s", names[end]);
	return buf;
}

/* Who it is by a PROXY header, and who said so; both, as the line has them. */
#define CLIENT_TEXT (2 * SOCKADDR_STRLEN + 5)

static const char *
client_text(const union sockaddr_inet *peer, const struct conn_report *t,
    char *buf)
{
	char client[SOCKADDR_STRLEN], via[SOCKADDR_STRLEN];

	if (!is_inet(&t->client))
		return sockaddr_format(&peer->sa, buf);
	snprintf(buf, CLIENT_TEXT, "%s via=%s",
	    sockaddr_format(&t->client.sa, client),
	    sockaddr_format(&peer->sa, via));
	return buf;
}

void
conn_log(const struct map *map, const union sockaddr_inet *peer,
    msec started_at, struct conn_report *t, int status)
{
	bool good = WIFEXITED(status) && t->end == END_CLOSED;
	enum log_level least = good ? LOG_VERBOSE : LOG_NORMAL;
	char client[CLIENT_TEXT], target[SOCKADDR_STRLEN], end[64];

	if (!log_enabled(
		least)) /* of what it costs, most goes into the words */
		return;
	log_line(least,
	    "connection from=%s to=%s map=%s client=%s target=%s up=%llu "
	    "down=%llu ms=%lld end=%s",
	    ns_spec(&map->listen_ns), ns_spec(&map->target_ns), map->spec,
	    client_text(peer, t, client), target_text(map, t, target),
	    (unsigned long long)t->up, (unsigned long long)t->down,
	    (long long)(now_ms() - started_at),
	    end_text(t, status, end, sizeof(end)));
}

void
conn_log_row(const struct map *map, const union sockaddr_inet *peer,
    msec started_at, struct conn_report *t)
{
	char client[SOCKADDR_STRLEN], target[SOCKADDR_STRLEN];

	log_open_row(sockaddr_format(&peer->sa, client),
	    target_text(map, t, target), t->up, t->down, started_at);
}
