/* What the files of the server share; mappers and leaves know nothing of it. */

#ifndef SERVER_H
#define SERVER_H

#include "mapper.h"

/* What a service has from the one that it follows in a new configuration. */
enum descent {
	DESCENT_NONE,
	DESCENT_SET, /* the listeners */
	DESCENT_ALL  /* it is the same */
};

/* A map and one protocol of it. */
struct service {
	const struct map *map;
	enum proto proto;
	struct listeners set;
	uint64_t from, to;    /* the namespaces as last seen; 0: not there */
	uint64_t opened;      /* that of the set; 0: there is no set */
	struct child *mapper; /* that accepts, or NULL */
	uint32_t number;      /* its own, which an heir inherits; 0: none yet */
	deadline tried;       /* the last birth or opening */
	int told;             /* why it waits, an errno that was logged */
	bool silent;          /* what it depends on is, see ns_silent() */
	bool watched;         /* by an epoll: its listeners */
	bool lost;            /* one of them was destroyed from outside */
	bool blocked;         /* by a listener of the list in force */
	bool released;        /* it has closed its listeners for a plan */
	enum descent descent;
	struct service *heir;                    /* while a plan is tried */
	unsigned long long births, past[COUNTS]; /* of mappers gone */
};

struct services {
	struct service *service; /* owned */
	size_t count;
};

/* A mapper as the server knows it. */
struct child {
	struct child *next;
	struct service *service; /* NULL: there is no such map any more */
	pid_t pid;
	int channel;
	size_t slot;
	uint64_t from, to; /* the namespaces that it serves */
	deadline until;    /* it is to be gone then, or NEVER */
	bool stands;       /* it has been heard */
	unsigned stops;    /* signals that stopped it */
	bool retired, killed;
	bool ended; /* its connections are the server's children now */
};

/* change.c */

/*
 * Makes services of the configuration, and them the list, taking over what it
 * can; its maps are then those of conf. 0; or the exit status, with the reason
 * logged, and everything is as it was.
 */
int change(struct services *list, const struct conf *);

/* service.c */

/*
 * Its namespaces are there and can be entered, or, if patient, one may not be
 * there yet: 0, or the exit status, with the reason logged.
 */
int service_check(struct service *, bool patient);

/* Logs why a namespace cannot be used; the exit status that goes with it. */
int service_explain(const struct map *, const struct ns *, int err);

/*
 * Opens its listeners: 0, or -1 with errno, and with the reason logged unless
 * the errno is known, see listen_open().
 */
int service_open(struct service *, int known, bool waits);

/* errno stays as it was. */
void service_close(struct service *);

/* Lets clients connect: 0, or -1 with errno, logged unless it is known. */
int service_begin(struct service *, int known);

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
int service_bear(struct service *, const struct conf *);
int service_hear(struct service *);

/*
 * Looks at its namespaces and at what its listeners depend on; retires mappers
 * and closes listeners that are of others.
 */
void service_follow(struct service *, const struct conf *);

/* Gives it what it lacks, as far as that can be had now. */
void service_mend(struct service *, const struct conf *);

/* The mapper drains; in that time, if it is not -1, it will be gone. */
void service_retire(struct child *, deadline drain);

/* mapper.c */

/* Makes the board: 0, or -1 with errno. */
int mapper_open(void);

/* The first of all that have not been buried, or NULL. */
struct child *mapper_first(void);

/*
 * Forks a mapper on the listeners of the service: NULL with errno. It serves
 * from its birth on or ends, but has to be heard.
 */
struct child *mapper_birth(struct service *, const struct conf *);

/* Waits so long for the next word of a mapper: 0, or -1 with its errno. */
int mapper_hear(const struct child *, deadline span);

/* A command, and SIGCONT: somebody may have stopped it. */
void mapper_order(const struct child *, enum order);

/* Kills it and its connections, which are its process group. */
void mapper_kill(const struct child *);

/* It has ended, but not all of its connections: no limit counts those. */
void mapper_orphan(struct child *);

uint64_t mapper_count(const struct child *, enum count);

/* Frees what is left of one that has ended; its counts go to the service. */
void mapper_bury(struct child *);

/* status.c */

/*
 * Logs a table of the services, and of what is open, for which it waits a second
 * over all mappers, or until there is something to read from signals.
 */
void status_table(const struct services *, int signals);

/*
 * Accepts a client and has a process of its own, of that user, write the
 * metrics to it. Returns its pid, which the caller reaps; 0: there is none.
 */
pid_t status_answer(int listener, const struct services *, const struct cred *);

/* life.c */

/*
 * Goes on in the background, in a new session: the caller is the child. The
 * parent waits for life_ready(), or the end, and exits with its status.
 * -1 with errno.
 */
int life_daemon(void);

/* The caller is ready: the parent goes, and --ready-fd, if not -1, gets the line. */
void life_ready(int fd, const char *line);

/* Takes and locks the file, and writes the pid: 0, or -1, logged. */
int life_pidfile(const char *path);

/*
 * Removes it, if it is still there, and unlocks it: another server may have it
 * from now on. Does nothing the second time.
 */
void life_end(void);

/* Tells systemd or the like, where $NOTIFY_SOCKET says how; see sd_notify(3). */
void life_notify(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

#endif
