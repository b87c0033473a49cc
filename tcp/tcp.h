/* The mapper of a TCP map, or one of its workers. */

#ifndef TCP_TCP_H
#define TCP_TCP_H

#include <stdint.h>

struct mapper_args;

/*
 * The life of a mapper of TCP connections, in its destination namespace: it
 * makes its tables and opens its events, 0 or -1 with errno, and then serves.
 */
int tcp_init(const struct mapper_args *);
_Noreturn void tcp_run(void);

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

#endif
