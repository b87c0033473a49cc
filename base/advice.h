/* Says what an errno means where it was met, and what to do about it. */

#ifndef BASE_ADVICE_H
#define BASE_ADVICE_H

#include <stddef.h>

/* What was tried, as bits. */
enum advice_case {
	ADVICE_DIAL_INET = 1,
	ADVICE_DIAL_LOOPBACK = 2,
	ADVICE_DIAL_UNIX = 4,
	ADVICE_DIAL_HOP = 8, /* a proxy on the way has answered */
	ADVICE_LISTEN_INET = 16,
	ADVICE_LISTEN_UNIX = 32
};

/* The words of the user that the advice repeats; none is NULL but ns. */
struct advice_place {
	enum advice_case tried;
	const char *addr;
	const char *ns;    /* a name of ip-netns(8), or NULL: another kind */
	const char *where; /* the namespace in any spelling, or "self" */
};

#define ADVICE_SIZE 256

/*
 * Writes the advice, a clause without a quotation mark, into buf, which has
 * ADVICE_SIZE bytes. Returns buf, or NULL if there is none for this errno.
 * Allocates nothing.
 */
const char *errno_advice(char *buf, int err, const struct advice_place *);

#endif
