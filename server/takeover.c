/* Takes addresses over from old services, or gives them back. */

/*
 * Theory of operation
 *
 * An address can be bound only when all sockets that hold it are closed. For an
 * old service these are the server's listener, which the server closes, and the
 * copy in its mapper, which the mapper closes when it handles CMD_DRAIN. How
 * long that takes depends on the kind of the listener:
 * - TCP: no time, because listen_close() undoes listen(2) for the mapper, too,
 *   and a socket that does not listen does not hold its address (SO_REUSEADDR);
 * - a UNIX path: no time, because a new file takes the place of the old one;
 * - an abstract UNIX name: until the mapper has handled the command;
 * - UDP: until the mapper has exited, which the server waits for, and a moment
 *   more, because the kernel may close the sockets of a process after its end.
 * So the server closes all listeners that block a new service first, and then
 * opens each new service, again and again while its address is in use.
 *
 * At the start there is no old service, but the address may be held by the
 * server that had the pid file before, because that server gives up the file
 * first.
 */

#include <errno.h>
#include <poll.h>
#include <stdbool.h>
#include <stddef.h>
#include <string.h>

#include "base/clock.h"
#include "config/endpoint.h"
#include "config/map.h"
#include "server/mapper_proc.h"
#include "server/service.h"
#include "server/takeover.h"

#define RELEASE_MS   1000 /* for another process to close its sockets */
#define UDP_CLOSE_MS 100  /* for the kernel, after a mapper has exited */
#define REOPEN_MS    10   /* between two attempts to bind to an address */

/*
 * Returns true if an old service may hold an address of the wanted one. A path
 * is the same file in all namespaces; other addresses are not.
 */
static bool
holds_address(const struct service *old, const struct service *wanted)
{
	const struct endpoint *a = &old->map->listen, *b = &wanted->map->listen;

	if (old->successor || old->proto != wanted->proto || !old->listeners_ns)
		return false;
	if (a->kind != EP_UNIX_PATH &&
	    old->listeners_ns != wanted->listen_ns_id)
		return false;
	if (a->port_first)
		return a->port_first <= b->port_last &&
		    b->port_first <= a->port_last;
	return a->kind == b->kind && strcmp(a->name, b->name) == 0;
}

bool
takeover_is_blocked(const struct services *old, const struct service *wanted)
{
	for (size_t i = 0; i < old->count; i++)
		if (holds_address(&old->items[i], wanted))
			return true;
	return false;
}

/*
 * Waits for the end of the channel of a UDP mapper, which exits when it drains.
 */
static void
wait_for_exit(const struct mapper_proc *m)
{
	msec deadline = now_ms() + RELEASE_MS, left = RELEASE_MS;

	while (left > 0 && mapper_wait_reply(m, left) == 0)
		left = deadline - now_ms();
}

/* Closes the listeners of an old service; the mapper drains without a limit. */
static void
release_address(struct service *old)
{
	struct mapper_proc *m = old->mapper;

	service_close(old);
	old->released = true;
	if (!m)
		return;
	mapper_drain(m, -1);
	if (old->proto == PROTO_UDP)
		wait_for_exit(m);
}

/* Returns for how long a released address may still be in use. */
static msec
release_timeout(const struct service *s)
{
	if (s->map->listen.kind == EP_UNIX_ABSTRACT)
		return RELEASE_MS;
	return s->proto == PROTO_UDP ? UDP_CLOSE_MS : 0;
}

/*
 * Opens a service, and tries again while the address is in use. Only the
 * failure of the last attempt is logged.
 */
static int
open_with_retry(struct service *s, msec timeout)
{
	msec deadline = now_ms() + timeout;

	while (now_ms() < deadline) {
		if (service_open(s, EADDRINUSE, false) == 0)
			return 0;
		if (errno != EADDRINUSE)
			return -1;
		poll(NULL, 0, REOPEN_MS);
	}
	return service_open(s, 0, false);
}

int
takeover_open(const struct services *fresh, const struct services *old)
{
	struct service *s, *end = fresh->items + fresh->count;

	for (s = fresh->items; s < end; s++)
		for (size_t i = 0; s->blocked && i < old->count; i++)
			if (holds_address(&old->items[i], s))
				release_address(&old->items[i]);
	for (s = fresh->items; s < end; s++)
		if (s->blocked &&
		    open_with_retry(s,
			old->count ? release_timeout(s) : RELEASE_MS) == -1)
			return -1;
	return 0;
}

void
takeover_undo(const struct services *old, const struct config *conf)
{
	for (size_t i = 0; i < old->count; i++) {
		struct service *s = &old->items[i];

		if (!s->released)
			continue;
		s->released = false;
		if (open_with_retry(s, release_timeout(s)) == 0)
			service_retry(s, conf);
		else
			s->logged_errno = errno;
	}
}
