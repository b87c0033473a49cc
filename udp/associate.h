/* UDP ASSOCIATE of a SOCKS5 proxy. */

#ifndef UDP_ASSOCIATE_H
#define UDP_ASSOCIATE_H

#include <stdbool.h>

#include "base/report.h"

struct conn;

/*
 * Answers a client's UDP ASSOCIATE and relays datagrams between conn->udp_fd
 * and the targets that they name, RFC 1928 section 7. Returns, with the reason,
 * when the client closes its connection, is idle for too long, or on an error.
 */
enum end_reason udp_associate(const struct conn *);

/*
 * Returns true if an association has left its UDP socket unusable for another
 * one: connected, unbound, or shut down for writing. nsfwd never does.
 */
bool udp_associate_spoiled(int udp_fd);

/*
 * Discards datagrams to the UDP socket of an ended connection, and later ones
 * until the next udp_associate() with that socket.
 */
void udp_associate_mute(int udp_fd);

#endif
