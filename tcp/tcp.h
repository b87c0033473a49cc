/* A process that accepts the clients of a TCP map: a mapper or a worker. */

#ifndef TCP_TCP_H
#define TCP_TCP_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/epoll.h>
#include <sys/types.h>

#include "base/clock.h"
#include "tcp/accept.h"

struct conn;
struct mapper_args;
struct mapper_state;
struct rows_request;
struct table;
struct tables;

/* How a process runs its connections: see fork.c and worker.c. */
struct tcp_ops {
	/* Takes over conn->client. Slot i is that of the connection. */
	void (*start)(uint32_t i, struct conn *);

	/* Handles the channel, which has become readable. */
	void (*channel_event)(void);

	/* Handles an event whose data was TCP_EV_CONN + data. */
	void (*conn_event)(uint64_t data, uint32_t events);

	/*
	 * Runs the timers that are due. Returns when the next is due, or NEVER.
	 */
	msec (*run_timers)(msec now);
};

/*
 * Data of an epoll event: the index of a listener below this, else of a
 * connection.
 */
#define TCP_EV_CONN ((uint64_t)1 << 32)

#define TCP_EVENTS_MAX 32

struct tcp {
	const struct mapper_args *args;
	const struct tcp_ops *ops;
	struct acceptor acceptor;
	struct tables *tables;
	struct table *table; /* the table in which this process takes slots */
	_Atomic uint64_t *counts;   /* of the mapper, on the scoreboard */
	struct mapper_state *state; /* the same */
	pid_t pid;                  /* for the slots that this process takes */
	int epoll;
	int opener_channel;  /* -1: there is no opener, or none any more */
	uint32_t n_started;  /* connections */
	uint32_t n_kept;     /* processes to reap before it exits, see kept.c */
	uint32_t n_failures; /* of targets, that health.c has noted */
	msec noted_at;       /* ... when it did */
	msec looked_at;      /* ... and when health_run() looked last */
	msec dial_deadline;  /* of the last connection */
	bool draining;
	struct epoll_event events[TCP_EVENTS_MAX]; /* of one epoll_wait(2) */
};

/*
 * Makes n_tables tables, of which the process uses the first. The caller
 * provides the struct, which must not move. Returns -1 with errno.
 */
int tcp_init(struct tcp *, const struct mapper_args *, uint32_t n_tables);

/*
 * Makes the epoll, and watches the listeners and the channel; accept_listen()
 * has the flags. Returns -1 with errno.
 */
int tcp_listen(struct tcp *, const struct tcp_ops *, int channel,
    uint32_t flags);

/* Watches one more descriptor for EPOLLIN. Returns -1 with errno. */
int tcp_watch(const struct tcp *, int fd, uint64_t data);

/* Handles events until it has drained, then exits. */
_Noreturn void tcp_run(struct tcp *);

/* Closes the listeners. The connections go on. */
void tcp_drain(struct tcp *);

/* Returns true if the status is that of a child that CMD_KILL has ended. */
bool tcp_was_killed(int status);

/*
 * Logs and counts connection i of this process, which has ended with that exit
 * status, and frees its slot. See conn_log() for the status.
 */
void tcp_conn_ended(struct tcp *, uint32_t i, int status);

/* Frees slot i, whose connection could not start. */
void tcp_conn_failed(struct tcp *, uint32_t i);

/* Does as tcp_conn_ended() for all connections of a worker that has exited. */
void tcp_worker_exited(struct tcp *, uint32_t table, int status);

/*
 * Stops counting on the scoreboard, because the pool was killed and its
 * successor counts from 0.
 */
void tcp_detach_counts(struct tcp *);

/* Sends a page of the open connections of all tables. */
void tcp_send_rows(const struct tcp *, const struct rows_request *);

#endif
