/* Users and passwords of a proxy. */

#ifndef PROXY_AUTH_H
#define PROXY_AUTH_H

#include <stdbool.h>
#include <stddef.h>

#define BASIC_AUTH_MAX 688 /* for two strings of SOCKS_STRING_MAX bytes */

/*
 * Writes the credentials of the Basic scheme, RFC 7617, at most BASIC_AUTH_MAX
 * bytes with the NUL. NULL is an empty password.
 */
void basic_auth_encode(char *out, const char *user, const char *password);

/*
 * Returns true if the given bytes are the expected string. The time of a call
 * does not depend on the place of a difference.
 */
bool equal_constant_time(const char *given, size_t length,
    const char *expected);

#endif
