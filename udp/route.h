/* The target address of a flow, and its socket there. */

#ifndef UDP_ROUTE_H
#define UDP_ROUTE_H

#include <stdbool.h>
#include <stdint.h>

#include "udp/state.h"

/*
 * Connects a flow to the target address with the index `addr`; if that fails,
 * to one of the addresses after it. Closes the flow's old socket. Returns 0; or
 * -1 with errno, and the flow is unchanged.
 */
int route_connect(struct udp_mapper *, struct flow *, uint32_t addr);

/* Returns where the preferred address of the flow's port is kept. */
uint8_t *route_preferred(const struct udp_mapper *, const struct flow *);

/* Return true if new flows of a listener, or of any, wait: targets_wait(). */
bool route_waits(const struct udp_mapper *, uint32_t listener);
bool route_any_waits(const struct udp_mapper *);

/* Closes the flow's socket, if it has one. */
void route_close(struct udp_mapper *, const struct flow *);

/* Reconnects a flow, to its own target address if that still exists. */
int route_reconnect(struct udp_mapper *, struct flow *);

/*
 * Handles a target address that refuses the flow's datagrams. A datagram that
 * is `lost`, because it is not sent again, is counted as refused. New flows
 * prefer the next address. The flow moves to the next address, too, unless the
 * target has answered it before. If no target has the address any more, the
 * flow moves in any case.
 */
void route_refused(struct udp_mapper *, struct flow *, bool lost);

/*
 * Notes that the client sends. Moves the flow to the next target if its target
 * has not answered for udp-timeout=. After each round of all targets, that time
 * doubles for the target where the round began, so that a flow stays with one
 * target if none ever answers.
 */
void route_expect_answer(struct udp_mapper *, struct flow *);

/*
 * Notes that the target has answered. If the flow has moved to that target, new
 * flows prefer the target.
 */
void route_answered(struct udp_mapper *, struct flow *);

#endif
