/* Says what an error of connecting or listening means, and what to do. */

#ifndef BASE_ADVICE_H
#define BASE_ADVICE_H

#include <stddef.h>

/* The operation that failed. Each value is a bit, for sets of operations. */
enum advice_case {
	ADVICE_DIAL_INET = 1,
	ADVICE_DIAL_LOOPBACK = 2,
	ADVICE_DIAL_UNIX = 4,
	ADVICE_DIAL_HOP = 8, /* a hop has answered with an error */
	ADVICE_LISTEN_INET = 16,
	ADVICE_LISTEN_UNIX = 32
};

/* The operation, and user's text for the advice. */
struct advice_place {
	enum advice_case tried;
	const char *addr;
	const char *ns;     /* as in the map, or "self" */
	const char *server; /* that did not resolve a name; NULL: unknown */
};

#define ADVICE_SIZE 256

/*
 * Writes the advice, a clause without a quotation mark, into buf, which has
 * ADVICE_SIZE bytes. `err` is an errno or an enum name_error. Returns buf, or
 * NULL if there is no advice on it. Allocates nothing.
 */
const char *errno_advice(char *buf, int err, const struct advice_place *);

/*
 * Writes the command ip(8) for a namespace into buf, which has ADVICE_SIZE
 * bytes: "ip -n web". Of a container, writes "ip" alone. Returns buf.
 */
const char *ip_command(char *buf, const char *ns);

#endif
