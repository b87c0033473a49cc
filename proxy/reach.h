/* Which addresses a proxy's clients may reach. */

#ifndef PROXY_REACH_H
#define PROXY_REACH_H

#include <stdbool.h>

struct map;

/* True if a client of a proxy may reach the address, see reach=. */
bool reach_allows(const struct map *, const void *addr);

#endif
