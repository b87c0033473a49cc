/* Declarations that the files of the test build share, see evil.c. */

#ifndef TESTS_EVIL_H
#define TESTS_EVIL_H

#include <errno.h>
#include <stdint.h>
#include <sys/types.h>

/*
 * An attack returns a number from 0 on if it succeeds, else an errno, negative.
 * The attacks of a kind are an array that ends with {0}; their order is their
 * number, from the first of all arrays on.
 */
struct attack {
	const char *name;
	long (*run)(void);
};
#define ATTACK(name)             \
	{                        \
#name, do_##name \
	}

extern const struct attack process_attacks[], descriptor_attacks[],
    socket_attacks[], memory_attacks[], kept_attacks[];

/* The state of the attacking process, set before it attacks. */
extern const struct mapper_args *args; /* of this map */
extern const struct tables *tables;    /* of this map */
extern const struct conn *victim;      /* the connection of this process */
extern pid_t mapper;
extern void *used_count, *other_counts; /* on the scoreboard */
extern int own_table;                   /* of this worker */
extern char forged[];                   /* a line for the log */

/*
 * Returns the first descriptor for which a socket option is `value`, or that is
 * a pipe; or -1.
 */
int find_socket(int option, int value);
int find_pipe(void);

/* Has the result of the attack sent to a client that came later. */
void report_to(int client);

/* Returns 1 if the filter lets a socket be connected anew, or an errno. */
long reconnect(int fd);

static inline long
result(long n)
{
	return n == -1 ? -errno : n;
}

#endif
