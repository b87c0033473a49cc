/* Checks of listeners that are open, or could not be opened. */

#ifndef SERVER_LISTEN_CHECK_H
#define SERVER_LISTEN_CHECK_H

#include <netinet/in.h>
#include <stdbool.h>

struct listeners;
struct map;

/*
 * Returns true if an errno means that the address, interface or directory that
 * the map listens on does not exist yet, or that lo is down.
 */
bool listen_absent(const struct map *, int err);

/*
 * Returns true if the map listens on a file or interface that can be replaced.
 */
bool listen_depends(const struct map *);

/*
 * Compares the file or the interface of the listeners with the one at the time
 * of listen_open(). Returns how it differs, a string constant, or NULL.
 */
const char *listen_changed(const struct listeners *, const struct map *);

/*
 * Returns 1 if a stream socket listens, 0 if it does not, which `ss -K` causes,
 * too. Returns -1 with errno if that is unknown.
 */
int listen_state(int fd);

/*
 * Returns the IFA_F flags of an IPv6 address in the namespace of the process,
 * or 0: bind(2) fails alike for an address that is tentative and one that is
 * absent. Allocates nothing.
 */
unsigned listen_address_flags(const struct sockaddr_in6 *);

#endif
