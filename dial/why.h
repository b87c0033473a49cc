/* Says what the errno of a connection to a target means, and the cure. */

#ifndef DIAL_WHY_H
#define DIAL_WHY_H

struct conn_report;
struct endpoint;
struct map;

/*
 * Returns what messages write before ep->arg: the first address of a bare
 * port, so that a target has the same name in all of them; or "".
 */
const char *why_host(const struct endpoint *ep);

/*
 * Writes the advice on err into buf, which has ADVICE_SIZE bytes. The advice
 * names the address in the report; without one, the first hop or the target as
 * the map spells it. Returns buf, or NULL if there is no advice.
 */
const char *dial_why(char *buf, const struct map *, const struct conn_report *,
    int err);

#endif
