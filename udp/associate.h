/* UDP of a SOCKS5 proxy's clients. */

#ifndef UDP_ASSOCIATE_H
#define UDP_ASSOCIATE_H

#include "base/report.h"

struct conn;

/*
 * Serves the client of a proxy that asked for UDP until it ends its connection:
 * relays datagrams between call->udp and wherever they are to go. How it ended.
 */
enum end_reason udp_associate(const struct conn *);

/*
 * Drops what is, or will be, sent to a call's UDP socket, until associate() has
 * it again: for the mapper, when the connection has ended in whatever way.
 */
void udp_associate_mute(int udp);

#endif
