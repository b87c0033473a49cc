/* The target address of a flow, and its socket there. */

#ifndef UDP_ROUTE_H
#define UDP_ROUTE_H

#include <stdbool.h>
#include <stdint.h>

#include "udp/state.h"

/*
 * Connects a flow to the target address with an index or, failing that, to one
 * after it, and closes its old socket. Returns 0, or -1 with errno: the flow is
 * unchanged.
 */
int route_connect(struct udp_mapper *, struct flow *, uint32_t addr);

/* Closes the flow's socket, if it has one. */
void route_close(struct udp_mapper *, const struct flow *);

/* Reconnects a flow, to its own target address if that still exists. */
int route_reconnect(struct udp_mapper *, struct flow *);

/*
 * Moves the preference for new flows from a target address that refuses to the
 * next one, and the flow too, unless the target has answered it before. Where
 * the target's name does not have the address any more, the flow moves in any
 * case.
 */
void route_refused(struct udp_mapper *, struct flow *);

/*
 * Notes that the client sends. Moves the flow to another target if it has
 * waited for an answer for the time udp-timeout=; after all targets were
 * silent, the first one has twice the time, so that targets that never answer
 * work.
 */
void route_expect_answer(struct udp_mapper *, struct flow *);

/*
 * Notes that the target has answered. If the flow has moved to that target, new
 * flows prefer the target.
 */
void route_answered(struct udp_mapper *, struct flow *);

#endif
