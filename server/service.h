/* A service: a map and one of its protocols, its listeners and its mapper. */

#ifndef SERVER_SERVICE_H
#define SERVER_SERVICE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/clock.h"
#include "config/map.h"
#include "mapper/scoreboard.h"
#include "server/listen.h"

struct config;
struct mapper_proc;
struct ns;

/* The part of an old service that a new service reuses. */
enum reuse {
	REUSE_NONE,
	REUSE_LISTENERS,
	REUSE_ALL /* the mapper, too */
};

struct service {
	const struct map *map;
	enum proto proto;
	struct listeners listeners;
	uint64_t listen_ns_id, target_ns_id; /* at the last check; 0: absent */
	uint64_t listeners_ns;      /* of the listeners; 0: there are none */
	struct mapper_proc *mapper; /* the mapper that accepts, or NULL */
	uint32_t number; /* in the scoreboard; a successor keeps it; 0: none */
	msec last_attempt; /* to start a mapper or open the listeners */
	int epoll; /* of service_watch(); 0: the listeners are not watched */
	int logged_errno; /* of the last failure, so that it is logged once */
	bool poll_ns;     /* no event reports changes, see ns_needs_polling() */
	bool lost;        /* one of the listeners was destroyed (ss -K) */
	bool blocked;     /* its address is in use, see takeover_open() */
	bool released;    /* closed by takeover_open() */
	enum reuse reuse; /* while a new configuration is applied */
	struct service *successor; /* while a new configuration is applied */
	unsigned long long mapper_starts;
	unsigned long long past_counts[COUNTS]; /* of removed mappers */
	struct mapper_error past_error;         /* of removed mappers */
};

struct services {
	struct service *items; /* owned */
	size_t count;
};

/*
 * Checks that both namespaces can be entered, and records their ids; with
 * `wait` one may be absent. Returns 0, or the exit status, logged.
 */
int service_probe_ns(struct service *, bool wait);

/* Logs why a namespace cannot be used. Returns the exit status for that. */
int log_ns_error(const struct map *, const struct ns *, int err);

/* Logs that a map waits for a namespace that is absent because of err. */
void log_waiting(const struct map *, const struct ns *, int err);

/*
 * Opens the listeners. Returns -1 with errno, logged unless it is quiet_errno,
 * see listen_open().
 */
int service_open(struct service *, int quiet_errno, bool waits);

/* Closes the listeners, and ends their watch. Keeps errno. */
void service_close(struct service *);

/*
 * Lets clients connect. Returns -1 with errno, logged unless it is quiet_errno.
 */
int service_listen(struct service *, int quiet_errno);

/*
 * Makes an epoll report, once and with the descriptor as data, when a TCP
 * listener is destroyed. Returns -1 with errno.
 */
int service_watch(struct service *, int epoll);

/* Returns true if the descriptor is one of the listeners. */
bool service_has(const struct service *, int fd);

/* Starts a mapper, which is not ready yet. Returns -1 with errno. */
int service_spawn_mapper(struct service *, const struct config *);

/*
 * Waits until the new mapper is ready. Returns -1 with errno, see
 * mapper_wait_reply(); then the mapper is killed.
 */
int service_wait_ready(struct service *);

/*
 * Checks whether the namespaces, or the file or interface of the listeners,
 * have changed since the last check. After a change, drains mappers and closes
 * listeners.
 */
void service_check_ns(struct service *, const struct config *);

/*
 * Returns true if nothing can be done for the service before a container
 * starts, which container_read() tells.
 */
bool service_awaits_container(const struct service *);

/* Opens the listeners and starts the mapper, as far as either is missing. */
void service_retry(struct service *, const struct config *);

#endif
