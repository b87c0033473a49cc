/* What the files of a TCP mapper share: see tcp.c for how they go together. */

#ifndef TCP_H
#define TCP_H

#include "mapper.h"

/* table.c */

/* One connection. The mapper's own: no connection can write here. */
struct slot {
	msec started_at;
	union sockaddr_inet peer; /* v4-mapped ones as v4 */
	uint16_t index;           /* of the port in the map's range */
	uint32_t next;            /* the next free slot */
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
	struct slot *slots;
	pid_t *pids;
	struct conn_report *reports; /* shared with the connections */
	uint32_t used;               /* slots from used on were never taken */
	/* Of the first one only: */
	bool pool_draining;       /* by the crew, which is not dead */
	_Atomic uint64_t tickets; /* so many were given */
	_Atomic msec *failed;     /* when each of several targets last did */
};

/*
 * Makes so many tables for so many connections each, to be forked with; those
 * of several are shared. NULL with errno.
 */
struct table *table_init(const struct map *, uint32_t tables,
    uint32_t capacity);

/*
 * Gives a slot of one of these tables, whose pid is set, its ticket. Returns how
 * many connections were there before it from the same source. Of processes that
 * do this at the same time each counts those whose ticket is lower, and no
 * other: together they do not exceed a limit, nor stay below it.
 */
uint32_t table_count_source(struct table *, uint32_t tables, struct slot *);

/* accept.c */

/* The listeners of a map, as one process that accepts has them. */
struct acceptor {
	const struct mapper_args *args;
	uint32_t *queue; /* listeners with clients that wait, a ring */
	uint32_t head, waiting;
	int epoll;
	bool exclusive;    /* other processes accept on them, too */
	uint32_t max_open; /* connections of the map, at most */
	uint32_t n_open;   /* those of this process */
	_Atomic uint32_t
	    *shared_open;  /* the same, where other mappers see it */
	msec paused_until; /* until then nothing is accepted; or 0 */

	/* Is given a client, and its place under the limits, for good. */
	void (*start)(int client, uint16_t index, const union sockaddr_inet *);
};

/* Allocates what it takes. -1 with errno. */
int accept_init(struct acceptor *, const struct mapper_args *, uint32_t slots);

/*
 * Watches the listeners: their number is the data of their events. -1 with
 * errno.
 */
int accept_listen(struct acceptor *, int epoll, bool exclusive);

/* Closes them: nothing is accepted any more. */
void accept_close(struct acceptor *);

/* Handles an event of a listener: accepts one client, if it may. */
void accept_event(struct acceptor *, uint32_t listener, uint32_t events);

/*
 * Goes on where accepting was paused until now, which is given. Returns when
 * that is to be done again, or NEVER.
 */
msec accept_run_timers(struct acceptor *, msec at);

/* Pauses for 100 ms because that call failed; errno says why. */
void accept_pause(struct acceptor *, const char *what);

/* Closes the client, which may not have a connection, and logs why. */
void accept_refuse(const struct acceptor *, int client,
    const union sockaddr_inet *, const char *why);

/* Gives the place of a connection back; or only the one in the scoreboard. */
void accept_release(struct acceptor *);
void accept_uncount(struct acceptor *);

/* fork.c */

/*
 * Each connection is a process: the pids are pid[0] up to pid[*used]. Calls
 * ended(i, status) when that of pid[i] has ended. -1 with errno.
 */
int fork_init(const struct mapper_args *, int epoll, uint64_t data, pid_t *pid,
    const uint32_t *used, void (*ended)(uint32_t i, int status));

/* Starts the process of a connection, which is given the client: its pid, or -1. */
pid_t fork_conn(struct conn *);

/* Reaps one that an event tells of. */
void fork_handle_sigchld(void);

/* Reaps all, when that is due; returns when it is, or NEVER. */
msec fork_run_timers(msec at);

/* tcp.c */

/*
 * The life of a worker, of whom the number is one in a map with several, with
 * the tables of tcp_equip() and a channel to its crew.
 */
_Noreturn void worker_main(uint32_t number, int channel);

/* Before the crew closes that channel, which a crew that dies does not say. */
void pool_mark_draining(void);

/* Logs what became of the connections of a worker that has died; see conn_log(). */
void table_worker_died(uint32_t number, int status);

/* Logs what is open, of all workers, and says so to the server. */
void table_dump(int channel);

/* conn.c */

/*
 * The life of a connection's process, which a mapper with these descriptors up
 * to last, and in this role of sandbox_confine(), has forked.
 */
_Noreturn void conn_main(struct conn *, int last, unsigned role);

/*
 * Logs what became of a connection, by its tally and the status of its end; 0 is
 * also that of one that was ended from here.
 */
void conn_log(const struct map *, const union sockaddr_inet *, msec started_at,
    struct conn_report *, int status);

/* Logs it as it is now, for the table. */
void conn_log_row(const struct map *, const union sockaddr_inet *,
    msec started_at, struct conn_report *);

/* timers.c */

/* Which of many connections is late first: a heap of their deadlines. */
struct timers {
	uint32_t *heap; /* numbers of connections, the first is at [1] */
	uint32_t count;
	struct timer *timers; /* of each connection */
};

/* For so many connections. -1 with errno. */
int timers_init(struct timers *, uint32_t capacity);

/* Sets the one of a connection that has none; NEVER: none. */
void timers_set(struct timers *, uint32_t i, msec at);
void timers_clear(struct timers *, uint32_t i);

/* The earliest deadline, and whose it is; NEVER if there is none. */
msec timers_earliest(const struct timers *, uint32_t *i);

/* worker.c */

/*
 * Makes room for so many connections to the map's targets, to be inherited by
 * its workers. -1 with errno.
 */
int worker_alloc(const struct map *, uint32_t capacity);

/*
 * One of them begins: it watches in that epoll, with data from base on, reports
 * in tally[i], and calls ended(i, 0) when i is done and its sockets are closed.
 */
void worker_init(int epoll, uint64_t base, struct conn_report *,
    void (*ended)(uint32_t i, int status));

/* Takes over the client of a call. */
void worker_add_conn(uint32_t i, struct conn *);

/* What an event says whose data was so much more than base. */
void worker_event(uint64_t data, uint32_t events);

/* Does what is due by now; returns when that is to be done again, or NEVER. */
msec worker_run_timers(msec at);

#endif
