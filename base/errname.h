/* Names errors, and tells a kind of them. */

#ifndef BASE_ERRNAME_H
#define BASE_ERRNAME_H

#include <stdbool.h>

/* Why a host name has no address. Negative, so that none is an errno. */
enum name_error {
	NAME_UNKNOWN = -9, /* "no-such-name" */
	NAME_NO_ADDRESS,   /* "no-address" */
	NAME_FAILED,       /* "name-server-failed" */
	NAME_REFUSED,      /* "name-server-refused" */
	NAME_NO_ANSWER,    /* "no-answer": no name server answered in time */
	NAME_BAD_FILE,     /* "bad-resolv.conf-or-hosts" */
	NAME_INVALID,      /* "not-a-host-name" */
	NAME_NOT_ASCII,    /* "name-not-ascii" */
	NAME_ALIASES       /* "alias-loop" */
};

/*
 * Returns the name of an errno, "ECONNREFUSED", or the words of a name_error.
 * An unknown number gives "E123", in a buffer that the next call overwrites.
 * Allocates nothing.
 */
const char *errno_name(int err);

/* Returns true if descriptors or memory have run out, here or in the system. */
bool errno_is_shortage(int err);

#endif
