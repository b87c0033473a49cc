/* What the files of a TCP mapper share: see tcp.c for how they go together. */

#ifndef TCP_H
#define TCP_H

#include "mapper.h"

/* table.c */

/* One connection. The mapper's own: no connection can write here. */
struct slot {
	deadline born;
	union peer peer; /* v4-mapped ones as v4 */
	uint16_t index;  /* of the port in the map's range */
	uint32_t next;   /* the next free slot */
	/* In the order in which the slots of all tables were taken; 0: not yet
	 * known. Of a map with max-source. */
	_Atomic uint64_t ticket;
};

/*
 * slot[i], pid[i] and tally[i] are one connection: process table, limiter,
 * statistics and error report in one. A pid of 0 is a free slot. The pids lie
 * apart since a dead one is searched for among all.
 */
struct table {
	struct slot *slot;
	pid_t *pid;
	struct tally *tally; /* shared with the connections */
	uint32_t used;       /* slots from used on were never taken */
	/* Of the first one only: */
	bool recalled;            /* by the crew, which is not dead */
	_Atomic uint64_t tickets; /* so many were given */
	_Atomic deadline *failed; /* when each of several targets last did */
};

/*
 * Makes so many tables for so many connections each, to be forked with; those
 * of several are shared. NULL with errno.
 */
struct table *table_open(const struct map *, uint32_t tables, uint32_t room);

/*
 * Gives a slot of one of these tables, whose pid is set, its ticket. Returns how
 * many connections were there before it from the same source. Of processes that
 * do this at the same time each counts those whose ticket is lower, and no
 * other: together they do not exceed a limit, nor stay below it.
 */
uint32_t table_source(struct table *, uint32_t tables, struct slot *);

/* accept.c */

/* The listeners of a map, as one process that accepts has them. */
struct acceptor {
	const struct post *post;
	uint32_t *queue; /* listeners with clients that wait, a ring */
	uint32_t head, waiting;
	int epoll;
	bool exclusive;          /* other processes accept on them, too */
	uint32_t slots;          /* connections of the map, at most */
	uint32_t live;           /* those of this process */
	_Atomic uint32_t *count; /* the same, where other mappers see it */
	deadline paused;         /* until then nothing is accepted; or 0 */

	/* Is given a client, and its place under the limits, for good. */
	void (*start)(int client, uint16_t index, const union peer *);
};

/* Allocates what it takes. -1 with errno. */
int accept_init(struct acceptor *, const struct post *, uint32_t slots);

/*
 * Watches the listeners: their number is the data of their events. -1 with
 * errno.
 */
int accept_begin(struct acceptor *, int epoll, bool exclusive);

/* Closes them: nothing is accepted any more. */
void accept_end(struct acceptor *);

/* Handles an event of a listener: accepts one client, if it may. */
void accept_event(struct acceptor *, uint32_t listener, uint32_t events);

/*
 * Goes on where accepting was paused until now, which is given. Returns when
 * that is to be done again, or NEVER.
 */
deadline accept_due(struct acceptor *, deadline at);

/* Pauses for 100 ms because that call failed; errno says why. */
void accept_pause(struct acceptor *, const char *what);

/* Closes the client, which may not have a connection, and logs why. */
void accept_refuse(const struct acceptor *, int client, const union peer *,
    const char *why);

/* Gives the place of a connection back; or only the one in the scoreboard. */
void accept_ended(struct acceptor *);
void accept_uncount(struct acceptor *);

/* fork.c */

/*
 * Each connection is a process: the pids are pid[0] up to pid[*used]. Calls
 * ended(i, status) when that of pid[i] has ended. -1 with errno.
 */
int fork_init(const struct post *, int epoll, uint64_t data, pid_t *pid,
    const uint32_t *used, void (*ended)(uint32_t i, int status));

/* Starts the process of a connection, which is given the client: its pid, or -1. */
pid_t fork_begin(struct call *);

/* Reaps one that an event tells of. */
void fork_event(void);

/* Reaps all, when that is due; returns when it is, or NEVER. */
deadline fork_due(deadline at);

/* tcp.c */

/*
 * The life of a worker, of whom the number is one in a map with several, with
 * the tables of tcp_equip() and a channel to its crew.
 */
_Noreturn void tcp_work(uint32_t number, int channel);

/* Before the crew closes that channel, which a crew that dies does not say. */
void tcp_recall(void);

/* Logs what became of the connections of a worker that has died; see conn_log(). */
void tcp_lost(uint32_t number, int status);

/* Logs what is open, of all workers, and says so to the server. */
void tcp_table(int channel);

/* conn.c */

/*
 * The life of a connection's process, which a mapper with these descriptors up
 * to last, and in this role of sandbox_confine(), has forked.
 */
_Noreturn void conn_live(struct call *, int last, unsigned role);

/*
 * Logs what became of a connection, by its tally and the status of its end; 0 is
 * also that of one that was ended from here.
 */
void conn_log(const struct map *, const union peer *, deadline born,
    struct tally *, int status);

/* Logs it as it is now, for the table. */
void conn_show(const struct map *, const union peer *, deadline born,
    struct tally *);

/* timers.c */

/* Which of many connections is late first: a heap of their deadlines. */
struct timers {
	uint32_t *heap; /* numbers of connections, the first is at [1] */
	uint32_t count;
	struct timer *timer; /* of each connection */
};

/* For so many connections. -1 with errno. */
int timers_init(struct timers *, uint32_t room);

/* Sets the one of a connection that has none; NEVER: none. */
void timers_set(struct timers *, uint32_t i, deadline at);
void timers_clear(struct timers *, uint32_t i);

/* The earliest deadline, and whose it is; NEVER if there is none. */
deadline timers_first(const struct timers *, uint32_t *i);

/* worker.c */

/*
 * Makes room for so many connections to the map's targets, to be inherited by
 * its workers. -1 with errno.
 */
int worker_equip(const struct map *, uint32_t room);

/*
 * One of them begins: it watches in that epoll, with data from base on, reports
 * in tally[i], and calls ended(i, 0) when i is done and its sockets are closed.
 */
void worker_open(int epoll, uint64_t base, struct tally *,
    void (*ended)(uint32_t i, int status));

/* Takes over the client of a call. */
void worker_begin(uint32_t i, struct call *);

/* What an event says whose data was so much more than base. */
void worker_event(uint64_t data, uint32_t events);

/* Does what is due by now; returns when that is to be done again, or NEVER. */
deadline worker_run(deadline at);

#endif
