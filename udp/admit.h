/* The start and the end of flows. */

#ifndef UDP_ADMIT_H
#define UDP_ADMIT_H

#include <stdbool.h>

struct flow;
struct flow_key;
struct udp_mapper;

/*
 * Returns the flow with the key. Starts the flow if there is none, and ends
 * another flow if there is no room. Returns NULL if the source is invalid or
 * not allowed, at a limit, or if no target can be reached; then counts and logs
 * the datagram as dropped.
 */
struct flow *flow_find_or_admit(struct udp_mapper *, const struct flow_key *);

/* Returns false if the source is invalid or not allowed. */
bool flow_may_begin(const struct udp_mapper *, const struct flow_key *);

/* Closes the flow and logs its end. */
void flow_end(struct udp_mapper *, struct flow *, const char *end);

#endif
