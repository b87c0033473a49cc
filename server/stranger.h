/* The program that answers a stranger who reads --stats over TCP. */

#ifndef SERVER_STRANGER_H
#define SERVER_STRANGER_H

#include <stdbool.h>
#include <sys/types.h>

struct config;
struct services;

/*
 * In a child of the server, whose descriptors above 2 are the client alone:
 * executes this program anew to answer the client with the present metrics. Its
 * process then has no password in memory.
 */
_Noreturn void stranger_exec(int client, const struct services *,
    const struct config *, pid_t server);

/* Returns true in a program that stranger_exec() has executed. */
bool stranger_is_title(const char *argv0);

/* Runs that program. Returns the exit status. */
int stranger_main(void);

#endif
