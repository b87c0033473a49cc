/* A service: a map and one of its protocols. */

#ifndef SERVER_SERVICE_H
#define SERVER_SERVICE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/clock.h"
#include "config/map.h"
#include "mapper/mapper.h"

struct config;
struct mapper_proc;
struct ns;

/* What a service has from the one that it follows in a new configuration. */
enum reuse {
	REUSE_NONE,
	REUSE_LISTENERS, /* the listeners */
	REUSE_ALL        /* it is the same */
};

/* A map and one protocol of it. */
struct service {
	const struct map *map;
	enum proto proto;
	struct listeners listeners;
	uint64_t listen_ns_id,
	    target_ns_id;      /* the namespaces as last seen; 0: not there */
	uint64_t listeners_ns; /* that of the set; 0: there is no set */
	struct mapper_proc *mapper; /* that accepts, or NULL */
	uint32_t number;   /* its own, which an heir inherits; 0: none yet */
	msec last_attempt; /* the last birth or opening */
	int logged_errno;  /* why it waits, an errno that was logged */
	bool poll_ns;      /* what it depends on is, see ns_silent() */
	bool watched;      /* by an epoll: its listeners */
	bool lost;         /* one of them was destroyed from outside */
	bool blocked;      /* by a listener of the list in force */
	bool released;     /* it has closed its listeners for a plan */
	enum reuse reuse;
	struct service *successor; /* while a plan is tried */
	unsigned long long mapper_starts,
	    past_counts[COUNTS]; /* of mappers gone */
};

struct services {
	struct service *items; /* owned */
	size_t count;
};

/*
 * Its namespaces are there and can be entered, or, if patient, one may not be
 * there yet: 0, or the exit status, with the reason logged.
 */
int service_probe_ns(struct service *, bool patient);

/* Logs why a namespace cannot be used; the exit status that goes with it. */
int log_ns_error(const struct map *, const struct ns *, int err);

/*
 * Opens its listeners: 0, or -1 with errno, and with the reason logged unless
 * the errno is known, see listen_open().
 */
int service_open(struct service *, int quiet_errno, bool waits);

/* errno stays as it was. */
void service_close(struct service *);

/* Lets clients connect: 0, or -1 with errno, logged unless it is known. */
int service_listen(struct service *, int quiet_errno);

/*
 * Has an epoll tell, by the descriptor as data, that a TCP listener was
 * destroyed, and nothing else. -1 with errno.
 */
int service_watch(struct service *, int epoll);

/* True if the descriptor is one of its listeners. */
bool service_has(const struct service *, int fd);

/*
 * Gives birth to its mapper, and hears whether that serves. -1 with errno:
 * then there is none.
 */
int service_spawn_mapper(struct service *, const struct config *);
int service_wait_ready(struct service *);

/*
 * Looks at its namespaces and at what its listeners depend on; retires mappers
 * and closes listeners that are of others.
 */
void service_check_ns(struct service *, const struct config *);

/* Gives it what it lacks, as far as that can be had now. */
void service_retry(struct service *, const struct config *);

#endif
