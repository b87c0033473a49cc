/* Processes that answer readers of --stats and --status, and SIGUSR1. */

#ifndef SERVER_ANSWER_H
#define SERVER_ANSWER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>
#include <sys/types.h>

struct config;
struct cred;
struct services;

enum answer_kind {
	ANSWER_METRICS, /* the reader may send an HTTP request first */
	ANSWER_HTTP,    /* the reader is a stranger, who must send one */
	ANSWER_STATUS,  /* the reader may ask for a table instead */
	ANSWER_LOG      /* there is no reader: the table is logged */
};

#define ANSWERS_MAX 8

/* The processes that answer one kind of reader. */
struct answers {
	enum answer_kind kind;
	int max; /* at a time; other readers wait in the queue */
	pid_t pids[ANSWERS_MAX]; /* 0: free */
};

bool answers_full(const struct answers *);

/*
 * Forks a process with the rights of mappers that answers the client, which
 * stays open here; -1 for ANSWER_LOG. The caller knows that there is room.
 * Returns -1 with errno.
 */
int answer_spawn(struct answers *, enum answer_kind, int client,
    const struct services *, const struct config *);

/*
 * The parts of an answer, for stranger.c.
 *
 * answer_read_request() reads a request, up to its empty line, into
 * ANSWER_REQUEST_SIZE bytes, and waits for each part until a timeout. Returns
 * its length; 0 if the client sends nothing.
 */
#define ANSWER_REQUEST_SIZE 4096
size_t answer_read_request(int client, char *text, int timeout);

/* Prints the header of an answer with that status, "200 OK" or another. */
void answer_print_header(FILE *, const char *status);

/* Ends the answer, and discards what the client goes on sending. */
void answer_discard_rest(int client);

/* Gives up all rights. Returns -1 with errno. */
int answer_confine(const struct cred *, pid_t server, bool sandbox);

/* Notes that a child has exited. Returns false if it was another child. */
bool answers_exited(struct answers *, pid_t);

#endif
