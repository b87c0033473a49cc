/* Says what the errno of a connection to a target means, and the cure. */

#ifndef DIAL_WHY_H
#define DIAL_WHY_H

struct conn_report;
struct map;

/*
 * Writes the advice into buf, which has ADVICE_SIZE bytes. The address is that
 * of the report, or else the target or first hop in the words of the map.
 * Returns buf, or NULL if there is none.
 */
const char *dial_why(char *buf, const struct map *, const struct conn_report *,
    int err);

#endif
