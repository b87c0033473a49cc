/* The figures and words of a service, for one row of a table. */

#ifndef SERVER_SERVICE_ROW_H
#define SERVER_SERVICE_ROW_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/advice.h"
#include "base/clock.h"
#include "mapper/scoreboard.h"

struct service;

struct service_row {
	const char *state;
	uint32_t targets, targets_down; /* each port of a range counts */
	unsigned long long open, total, failed, refused;
	unsigned long long up, down;  /* bytes, of open connections as well */
	msec error_at;                /* 0: none */
	char error[ADVICE_SIZE + 64]; /* the last one, or why the map waits */
};

#define ASK_MS 200 /* for one page of a mapper, so that others have time */

/* The requests to mappers for one reader. */
struct asker {
	msec deadline;
	uint32_t token; /* of the last request */
	bool may_ask;   /* this process has the channels of mappers */
};

/* Returns a counter of all mappers that the service has and had. */
unsigned long long service_sum(const struct service *, enum count);

/*
 * Returns how many ports of target i are known to be down. Sets *any_up to true
 * if one is known to be up.
 */
uint32_t service_ports_down(const struct service *, size_t i, bool *any_up);

/* Fills the row. Asks the mappers for the bytes of open connections. */
void service_row_fill(struct service_row *, const struct service *,
    struct asker *);

#endif
