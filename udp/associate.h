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

#endif
