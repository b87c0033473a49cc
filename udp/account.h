/* Counters and log lines of a UDP mapper. */

#ifndef UDP_ACCOUNT_H
#define UDP_ACCOUNT_H

#include "mapper/scoreboard.h"
#include "udp/state.h"

struct rows_request;

/* Adds to a counter that the server reads. */
void account_add(const struct udp_mapper *, enum count, unsigned long long n);

/* Adds the datagrams that the kernel has dropped to DROP_OVERFLOW. */
void account_overflow(const struct udp_mapper *, int fd);

/*
 * Counts n dropped datagrams of a client and logs why; `error` is 0 or errno.
 */
void account_drop(const struct udp_mapper *, enum drop_reason,
    unsigned long long n, const char *why, const struct flow_key *, int error);

/* Logs, with -v, that a flow has begun. */
void account_flow_begin(const struct udp_mapper *, const struct flow *);

/*
 * Notes and logs that the target of a flow refuses datagrams. `target` is its
 * index; n_targets if no target has its address.
 */
void account_refused(const struct udp_mapper *, const struct flow *,
    uint32_t target);

/* Notes that the target of a flow has answered. */
void account_answered(const struct udp_mapper *, const struct flow *,
    uint32_t target);

/* Logs a flow at its end. */
void account_flow_end(const struct udp_mapper *, const struct flow *,
    const char *end);

/* Sends a page of the open flows. */
void account_send_rows(const struct udp_mapper *, const struct rows_request *);

/* Logs the sums of the mapper, at its end. */
void account_log_sums(const struct udp_mapper *);

#endif
