/* Checking listeners that are open, or could not be opened. */

#ifndef SERVER_LISTEN_CHECK_H
#define SERVER_LISTEN_CHECK_H

#include <netinet/in.h>
#include <stdbool.h>

struct listeners;
struct map;

/*
 * True if err says that the address, interface, directory or lo that the map
 * listens on is not there yet.
 */
bool listen_absent(const struct map *, int err);

/* True if the file or the interface of the map's listeners may be replaced. */
bool listen_depends(const struct map *);

/*
 * Says how the file of a UNIX listener, or the interface of a link-local one,
 * differs from when the listener was opened. A string constant, or NULL.
 */
const char *listen_changed(const struct listeners *, const struct map *);

/* False if a TCP socket does not listen, also because `ss -K` destroyed it. */
bool listen_accepts(int fd);

/*
 * Returns the flags (IFA_F_TENTATIVE) of an IPv6 address of the calling process's
 * namespace, because bind(2) does not tell one that is tentative from one that is
 * not there; 0 if it has none. Allocates nothing.
 */
unsigned listen_address_flags(const struct sockaddr_in6 *);

#endif
