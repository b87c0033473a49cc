/* What the files of the server share; mappers and leaves know nothing of it. */

#ifndef SERVER_H
#define SERVER_H

#include "mapper.h"

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

/* A mapper as the server knows it. */
struct mapper_proc {
	struct mapper_proc *next;
	struct service *service; /* NULL: there is no such map any more */
	pid_t pid;
	int channel;
	size_t slot;
	uint64_t listen_ns_id, target_ns_id; /* the namespaces that it serves */
	msec kill_at;     /* it is to be gone then, or NEVER */
	bool ready;       /* it has been heard */
	unsigned n_stops; /* signals that stopped it */
	bool draining, killed;
	bool exited; /* its connections are the server's children now */
};

/* change.c */

/*
 * Makes services of the configuration, and them the list, taking over what it
 * can; its maps are then those of conf. 0; or the exit status, with the reason
 * logged, and everything is as it was.
 */
int apply_config(struct services *list, const struct config *);

/* service.c */

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

/* The mapper drains; in that time, if it is not -1, it will be gone. */
void mapper_drain(struct mapper_proc *, msec drain);

/* mapper.c */

/* Makes the board: 0, or -1 with errno. */
int scoreboard_init(void);

/* The first of all that have not been buried, or NULL. */
struct mapper_proc *mapper_list(void);

/*
 * Forks a mapper on the listeners of the service: NULL with errno. It serves
 * from its birth on or ends, but has to be heard.
 */
struct mapper_proc *mapper_spawn(struct service *, const struct config *);

/* Waits so long for the next word of a mapper: 0, or -1 with its errno. */
int mapper_wait_reply(const struct mapper_proc *, msec timeout);

/* A command, and SIGCONT: somebody may have stopped it. */
void mapper_send_command(const struct mapper_proc *, enum mapper_command);

/* Kills it and its connections, which are its process group. */
void mapper_kill(const struct mapper_proc *);

/* It has ended, but not all of its connections: no limit counts those. */
void mapper_keep_orphans(struct mapper_proc *);

uint64_t mapper_count(const struct mapper_proc *, enum count);

/* Frees what is left of one that has ended; its counts go to the service. */
void mapper_remove(struct mapper_proc *);

/* status.c */

/*
 * Logs a table of the services, and of what is open, for which it waits a second
 * over all mappers, or until there is something to read from signals.
 */
void stats_log_table(const struct services *, int signals);

/*
 * Accepts a client and has a process of its own, of that user, write the
 * metrics to it. Returns its pid, which the caller reaps; 0: there is none.
 */
pid_t stats_serve(int listener, const struct services *, const struct cred *);

/* life.c */

/*
 * Goes on in the background, in a new session: the caller is the child. The
 * parent waits for life_ready(), or the end, and exits with its status.
 * -1 with errno.
 */
int daemonize(void);

/* The caller is ready: the parent goes, and --ready-fd, if not -1, gets the line. */
void daemon_ready(int fd, const char *line);

/* Takes and locks the file, and writes the pid: 0, or -1, logged. */
int pidfile_create(const char *path);

/*
 * Removes it, if it is still there, and unlocks it: another server may have it
 * from now on. Does nothing the second time.
 */
void pidfile_remove(void);

/* Tells systemd or the like, where $NOTIFY_SOCKET says how; see sd_notify(3). */
void sd_notify_send(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

#endif
