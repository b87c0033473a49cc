/* Open connections and flows, in pages that a mapper sends on request. */

/*
 * Theory of operation
 *
 * A process that answers a reader, see server/answer.c, sends a request over
 * the channel of a mapper, which sends one page of rows back and the cursor of
 * the next page. Neither process waits in a send, so that a reader cannot delay
 * a mapper. A page is lost if the channel is full. The reader trusts no row.
 */

#ifndef MAPPER_ROWS_H
#define MAPPER_ROWS_H

#include <stddef.h>
#include <stdint.h>

#include "base/addr.h"
#include "base/clock.h"

#define ROWS_MAX        32         /* rows of a page */
#define ROWS_END        UINT32_MAX /* the cursor behind the last page */
#define ROW_TARGET_SIZE 280

/* An open connection or flow. */
struct row {
	union sockaddr_inet client;
	msec started_at;
	uint64_t up, down; /* bytes */
	char target[ROW_TARGET_SIZE];
};

struct rows_request {
	char command;    /* CMD_ROWS */
	uint32_t token;  /* the reply has it, too */
	uint32_t cursor; /* 0: the first page */
};

struct rows_reply {
	uint32_t token;
	uint32_t next; /* cursor of the next page, or ROWS_END */
	uint32_t n;
	/* Bytes of open connections, not counted yet; in the first page. */
	uint64_t open_up, open_down;
	struct row rows[ROWS_MAX];
};

/* Sends a page. Does not wait. */
void rows_send(int channel, const struct rows_reply *);

/*
 * Asks for the page at a cursor, and waits for it. Skips other messages
 * on the channel. Returns -1 with errno if there is none until the deadline.
 */
int rows_ask(int channel, uint32_t token, uint32_t cursor, struct rows_reply *,
    msec deadline);

#endif
