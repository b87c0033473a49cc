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

#define CLIENT 3 /* the client's descriptor */

static bool
is_inet(const union peer *peer)
{
	return peer->any.sa_family == AF_INET ||
	    peer->any.sa_family == AF_INET6;
}

/* Nothing but the client, and that socket, stays open: behind one another. */
static void
take_over(struct call *call, int last)
{
	int client = call->client;

	last = client > last ? client : last;
	call->client = CLIENT;
	if (call->udp == CLIENT)
		call->udp = dup3(CLIENT, ++last, O_CLOEXEC);
	if (client != CLIENT && dup3(client, CLIENT, O_CLOEXEC) == -1)
		_exit(1);
	if (call->udp != -1 && call->udp != CLIENT + 1)
		call->udp = dup3(call->udp, CLIENT + 1, O_CLOEXEC);
	sandbox_close_from(CLIENT + 1 + (call->udp != -1), last);
}

/* A proxy in front, if it is one of ours, says first who the client is. */
static int
learn(struct call *call)
{
	const struct line line = {CLIENT, -1, call->until};
	union peer from = {0};
	struct sockaddr_storage addr = {0};
	socklen_t length = sizeof(addr);

	if (getsockname(CLIENT, (struct sockaddr *)&addr, &length) == 0)
		call->to = side_peer(&addr);
	if (!side_match(&call->map->accept_proxy, &call->from))
		return 0;
	if (header_read(&line, &from, &call->to) == -1) {
		call->tally->end = END_HANDSHAKE;
		return -1;
	}
	if (from.any.sa_family)
		call->from = call->tally->client = from;
	return 0;
}

/* Who has read words of strangers does nothing more but relay. */
static int
confine(unsigned role)
{
	sandbox_shrink();
	return role & SANDBOX_PARSES ? sandbox_confine(SANDBOX_RELAY) : 0;
}

_Noreturn void
conn_live(struct call *call, int last, unsigned role)
{
	struct tally *tally = call->tally;
	const struct map *map = call->map;
	int server = -1;
	bool inet;

	take_over(call, last);
	if (call->from.any.sa_family == AF_UNIX)
		relay_inline(CLIENT);
	if (learn(call) == 0)
		server =
		    map->target->kind == SIDE_PROXY ? proxy(call) : dial(call);
	inet = is_inet(&call->from) && is_inet(&tally->peer);
	if (server != -1 && confine(role) == 0)
		_exit(relay(CLIENT, server, inet, call->refused, &map->times,
			  tally) != 0);
	tally->error = errno;
	if (server != -1)
		tally->end = END_LOCAL;
	else if (tally->error == ECONNABORTED)
		tally->end = END_CLIENT;
	else if (!tally->end)
		tally->end = END_DIAL;
	_exit(tally->end != END_CLOSED);
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
	if (length >= HOP_NAME_MAX - 1)
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
target_text(const struct map *map, struct tally *t, char *buf)
{
	t->asked[HOP_NAME_MAX - 1] = '\0';
	if (t->asked[0])
		return asked_text(t->asked);
	if (is_inet(&t->peer))
		return log_addr(&t->peer.any, buf);
	if (t->target < map->targets)
		return map->target[t->target].word;
	return "unknown";
}

/* "end=refused error=..." for the line of a connection. */
static const char *
end_text(const struct tally *t, int status, char *buf, size_t size)
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
	enum end end = END_NONE;

	if (t->end >= END_NONE && t->end <= END_HANDSHAKE)
		end = (enum end)t->end;
	if (status == 0 && end == END_NONE)
		return "stopped";
	if (WIFSIGNALED(status) && WTERMSIG(status) == SIGALRM && t->resolving)
		snprintf(buf, size, "dial error=%s", log_errno(ETIMEDOUT));
	else if (WIFSIGNALED(status))
		snprintf(buf, size, "killed signal=%d", WTERMSIG(status));
	else if (t->code)
		snprintf(buf, size, "%s error=%s hop=%d", names[end],
		    log_errno(t->error), t->code);
	else if (t->error)
		snprintf(buf, size, "%s error=%s", names[end],
		    log_errno(t->error));
	else
		snprintf(buf, size, "%s", names[end]);
	return buf;
}

/* Who it is by a PROXY header, and who said so; both, as the line has them. */
#define CLIENT_TEXT (2 * LOG_ADDR + 5)

static const char *
client_text(const union peer *peer, const struct tally *t, char *buf)
{
	char client[LOG_ADDR], via[LOG_ADDR];

	if (!is_inet(&t->client))
		return log_addr(&peer->any, buf);
	snprintf(buf, CLIENT_TEXT, "%s via=%s",
	    log_addr(&t->client.any, client), log_addr(&peer->any, via));
	return buf;
}

void
conn_log(const struct map *map, const union peer *peer, deadline born,
    struct tally *t, int status)
{
	bool good = WIFEXITED(status) && t->end == END_CLOSED;
	enum log_level least = good ? LOG_VERBOSE : LOG_NORMAL;
	char client[CLIENT_TEXT], target[LOG_ADDR], end[64];

	if (!log_wants(least)) /* of what it costs, most goes into the words */
		return;
	log_line(least,
	    "connection from=%s to=%s map=%s client=%s target=%s up=%llu "
	    "down=%llu ms=%lld end=%s",
	    ns_word(&map->from), ns_word(&map->to), map->word,
	    client_text(peer, t, client), target_text(map, t, target),
	    (unsigned long long)t->up, (unsigned long long)t->down,
	    (long long)(now() - born), end_text(t, status, end, sizeof(end)));
}

void
conn_show(const struct map *map, const union peer *peer, deadline born,
    struct tally *t)
{
	char client[LOG_ADDR], target[LOG_ADDR];

	log_row(log_addr(&peer->any, client), target_text(map, t, target),
	    t->up, t->down, born);
}
