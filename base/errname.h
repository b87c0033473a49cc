/* Names of errnos. */

#ifndef BASE_ERRNAME_H
#define BASE_ERRNAME_H

/*
 * The name of an errno, or of an error of getaddrinfo(3), which are negative:
 * "ECONNREFUSED", "EAI_NONAME"; "E123" for one it does not know.
 */
const char *errno_name(int);

#endif
