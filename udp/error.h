/* Kinds of errors of UDP sockets. */

#ifndef UDP_ERROR_H
#define UDP_ERROR_H

#include <stdbool.h>

/*
 * Returns true if an ICMP message causes the error: the target is unreachable.
 */
bool datagram_is_icmp_error(int err);

/*
 * Reads and clears the pending error of fd. Returns true if it is an ICMP
 * error: loopback reports a refusal before sendmmsg(2) returns.
 */
bool datagram_refused_already(int fd);

/*
 * Returns true if the error says that the socket has lost its local address,
 * its route or its connection, so that a new socket may work.
 */
bool datagram_is_route_error(int err);

/* Returns true if descriptors, memory or local ports have run out. */
bool datagram_exhausted(int err);

#endif
