/* Names errors. */

#ifndef BASE_ERRNAME_H
#define BASE_ERRNAME_H

/*
 * Returns the name of an errno, "ECONNREFUSED", or of an error of
 * getaddrinfo(3), which are negative, "EAI_NONAME". An unknown number gives
 * "E123", in a buffer that the next call overwrites. Allocates nothing.
 */
const char *errno_name(int err);

#endif
