/* Logs the connections of a TCP map. */

#include <ctype.h>
#include <errno.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>

#include "tcp/conn_log.h"

#include "base/addr.h"
#include "base/advice.h"
#include "base/clock.h"
#include "base/errname.h"
#include "base/log.h"
#include "base/report.h"
#include "config/map.h"
#include "dial/why.h"
#include "mapper/rows.h"
#include "netns.h"
#include "proxy/socks.h"

#define CLIENT_STRLEN (2 * SOCKADDR_STRLEN + 6) /* "ADDR peer=ADDR" */

/*
 * Cuts HOST:PORT at its first colon if HOST or PORT is none, because PORT could
 * then be a password.
 */
static void
cut_bad_port(char *host)
{
	char *colon = strrchr(host, ':'), *first = strchr(host, ':');
	size_t digits;

	if (!colon || !first)
		return;
	digits = strspn(colon + 1, "0123456789");
	if (colon[1 + digits] || digits < 1 || digits > 5 ||
	    (colon != first &&
		host + strspn(host, "0123456789abcdefABCDEF:.[]") < colon))
		*first = '\0';
}

/*
 * Replaces what is no letter, digit or one of `safe` by '?', because it could
 * start another field of the line.
 */
static void
replace_unsafe(char *text, const char *safe)
{
	for (char *s = text; *s; s++)
		if (!isalnum((unsigned char)*s) && !strchr(safe, *s))
			*s = '?';
}

/*
 * Returns the part of a proxy client's HOST:PORT that is safe to log. A
 * password may precede the last '@', which may have been cut off.
 */
static const char *
requested_text(char *requested)
{
	char *at = strrchr(requested, '@'), *host = at ? at + 1 : requested;

	if (strlen(requested) >= HOSTPORT_MAX - 1)
		return "?";
	cut_bad_port(host);
	replace_unsafe(host, "-._:[]");
	return *host ? host : "?";
}

/* Returns the fields that only a proxy has, with a space in front of each. */
static const char *
request_text(const struct map *map, struct conn_report *t, char *buf,
    size_t size)
{
	bool authorized = t->authorized && map->user;

	t->method[METHOD_MAX - 1] = '\0';
	if (map->targets->kind != EP_PROXY || !t->method[0])
		return "";
	replace_unsafe(t->method, "-_");
	snprintf(buf, size, " request=%s requests=%u%s%s", t->method,
	    t->n_requests, authorized ? " user=" : "",
	    authorized ? map->user : "");
	return buf;
}

/* Returns the target by the report, which a connection can forge. */
static const char *
target_text(const struct map *map, struct conn_report *t, char *buf)
{
	const struct endpoint *ep;

	t->requested[HOSTPORT_MAX - 1] = '\0';
	if (t->requested[0])
		return requested_text(t->requested);
	if (sockaddr_is_inet(&t->peer))
		return sockaddr_format(&t->peer.sa, buf);
	if (t->target >= map->n_targets)
		return "unknown";
	ep = &map->targets[t->target];
	if (!*why_host(ep))
		return ep->arg;
	snprintf(buf, SOCKADDR_STRLEN, "%s%s", why_host(ep), ep->arg);
	return buf;
}

/* Returns the value of end=, with the fields that follow it. */
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
	char server[SOCKADDR_STRLEN];

	if (t->end >= END_NONE && t->end <= END_HANDSHAKE)
		end = (enum end_reason)t->end;
	if (status == 0 && end == END_NONE)
		return "stopped";
	if (WIFSIGNALED(status))
		snprintf(buf, size, "killed signal=%d", WTERMSIG(status));
	else if (t->hop_status)
		snprintf(buf, size, "%s error=%s hop=%d", names[end],
		    errno_name(t->error), t->hop_status);
	else if (sockaddr_is_inet(&t->server))
		snprintf(buf, size, "%s error=%s server=%s", names[end],
		    errno_name(t->error),
		    sockaddr_format(&t->server.sa, server));
	else if (t->error)
		snprintf(buf, size, "%s error=%s", names[end],
		    errno_name(t->error));
	else
		snprintf(buf, size, "%s", names[end]);
	return buf;
}

/* Returns the client by its PROXY header, if it had one, and the peer. */
static const char *
client_text(const union sockaddr_inet *peer, const struct conn_report *t,
    char *buf)
{
	char client[SOCKADDR_STRLEN], sender[SOCKADDR_STRLEN];

	if (!sockaddr_is_inet(&t->client))
		return sockaddr_format(&peer->sa, buf);
	snprintf(buf, CLIENT_STRLEN, "%s peer=%s",
	    sockaddr_format(&t->client.sa, client),
	    sockaddr_format(&peer->sa, sender));
	return buf;
}

bool
conn_is_unauthorized(const struct map *map, const struct conn_report *t)
{
	return t->end == END_HANDSHAKE && t->error == EPERM && map->user;
}

/*
 * Returns what a connection's error means, or NULL. A target that a client
 * asked for by name has no address until it is found.
 */
static const char *
find_why(char *advice, const struct map *map, const struct conn_report *t)
{
	if (conn_is_unauthorized(map, t))
		return "no user and password, or wrong ones: auth=";
	if (t->end != END_DIAL ||
	    (t->error >= 0 && t->requested[0] && !map->n_hops &&
		!sockaddr_is_inet(&t->peer)))
		return NULL;
	return dial_why(advice, map, t, t->error);
}

/* Returns the field why=, after a space, or "". */
static const char *
why_text(const struct map *map, const struct conn_report *t, char *buf,
    size_t size)
{
	char advice[ADVICE_SIZE], quoted[LOGFMT_SIZE];
	const char *why = find_why(advice, map, t);

	if (!why)
		return "";
	snprintf(buf, size, " why=%s", logfmt(quoted, why));
	return buf;
}

void
conn_log_opened(const struct map *map, const union sockaddr_inet *peer)
{
	char client[SOCKADDR_STRLEN], quoted[3][LOGFMT_SIZE];

	if (log_enabled(LOG_VERBOSE))
		log_debug("opened from=%s to=%s map=%s client=%s",
		    logfmt(quoted[0], ns_spec(&map->listen_ns)),
		    logfmt(quoted[1], ns_spec(&map->target_ns)),
		    logfmt(quoted[2], map->spec),
		    sockaddr_format(&peer->sa, client));
}

/* Logs what happened to a target; of a range, to the one of a port. */
static void
log_target(const struct map *map, uint32_t target, uint32_t port,
    const char *what)
{
	const struct endpoint *ep = &map->targets[target];
	size_t n = strlen(ep->arg);
	char digits[8] = "";

	if (ep->port_first != ep->port_last) {
		while (n > 0 && strchr("0123456789-", ep->arg[n - 1]))
			n--;
		snprintf(digits, sizeof(digits), "%u", ep->port_first + port);
	}
	log_line(LOG_WARNING, "'%s': target %s%.*s%s is %s", map->spec,
	    why_host(ep), (int)n, ep->arg, digits, what);
}

void
conn_log_down(const struct map *map, const struct conn_report *t, uint32_t port)
{
	char advice[ADVICE_SIZE], text[ADVICE_SIZE + 64];
	const char *why = dial_why(advice, map, t, t->error);

	snprintf(text, sizeof(text), "down: %s%s%s%s", errno_name(t->error),
	    why ? " (" : "", why ? why : "", why ? ")" : "");
	log_target(map, t->target, port, text);
}

void
conn_log_up(const struct map *map, const struct conn_report *t, uint32_t port,
    msec span)
{
	char text[64];

	snprintf(text, sizeof(text), "reached again, after %lld s",
	    (long long)span / 1000);
	log_target(map, t->target, port, text);
}

/* Not inline, so that the mapper touches its stack only for a line. */
__attribute__((noinline)) static void
write_conn_line(enum log_level level, const struct map *map,
    const union sockaddr_inet *peer, msec started_at, struct conn_report *t,
    int status)
{
	char client[CLIENT_STRLEN], target[SOCKADDR_STRLEN];
	char request[METHOD_MAX + SOCKS_STRING_MAX + 48];
	char end[64 + SOCKADDR_STRLEN];
	char quoted[4][LOGFMT_SIZE], why[sizeof(" why=") + LOGFMT_SIZE];

	log_line(level,
	    "connection from=%s to=%s map=%s client=%s target=%s up=%llu "
	    "down=%llu ms=%lld%s end=%s%s",
	    logfmt(quoted[0], ns_spec(&map->listen_ns)),
	    logfmt(quoted[1], ns_spec(&map->target_ns)),
	    logfmt(quoted[2], map->spec), client_text(peer, t, client),
	    logfmt(quoted[3], target_text(map, t, target)),
	    (unsigned long long)t->up, (unsigned long long)t->down,
	    (long long)(now_ms() - started_at),
	    request_text(map, t, request, sizeof(request)),
	    end_text(t, status, end, sizeof(end)),
	    why_text(map, t, why, sizeof(why)));
}

void
conn_log(const struct map *map, const union sockaddr_inet *peer,
    msec started_at, struct conn_report *t, int status)
{
	bool good = WIFEXITED(status) && t->end == END_CLOSED;
	enum log_level least = good ? LOG_VERBOSE
	    : t->end == END_DIAL    ? LOG_WARNING
				    : LOG_NORMAL;

	if (log_enabled(least))
		write_conn_line(least, map, peer, started_at, t, status);
}

void
conn_log_row(struct row *row, const struct map *map,
    const union sockaddr_inet *peer, msec started_at, struct conn_report *t)
{
	char target[SOCKADDR_STRLEN];

	row->client = sockaddr_is_inet(&t->client) ? t->client : *peer;
	row->started_at = started_at;
	row->up = t->up;
	row->down = t->down;
	snprintf(row->target, sizeof(row->target), "%s",
	    target_text(map, t, target));
}
