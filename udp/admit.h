/* The start and the end of flows. */

#ifndef UDP_ADMIT_H
#define UDP_ADMIT_H

struct flow;
struct flow_key;
struct udp_mapper;

/*
 * Returns the flow with the key. Starts one if there is none, and ends another
 * one if that makes room. Returns NULL if the source is invalid or not allowed,
 * at a limit, or without a way to the target; that is counted and logged.
 */
struct flow *flow_find_or_admit(struct udp_mapper *, const struct flow_key *);

/* Closes the flow and logs its end. */
void flow_end(struct udp_mapper *, struct flow *, const char *end);

#endif
