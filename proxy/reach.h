/* The addresses that a proxy's clients may reach. */

#ifndef PROXY_REACH_H
#define PROXY_REACH_H

#include <stdbool.h>

struct map;

/*
 * Returns true if a proxy's client may reach a socket address: one in reach=,
 * or a public or private unicast address. The namespace's loopback, link-local
 * addresses, multicast, broadcast and metadata services of clouds are refused.
 */
bool reach_allows(const struct map *, const void *addr);

#endif
