/* Where a connection was going before nft redirected it. */

#ifndef TCP_ORIGINAL_H
#define TCP_ORIGINAL_H

struct conn;
struct endpoint;

/*
 * Sets conn->original to the destination that the client had before REDIRECT or
 * TPROXY of nft(8). Returns -1 if the client has connected to the listener
 * itself, because dialling that would lead back here.
 */
int original_read(struct conn *);

/* Makes an endpoint of conn->original, which needs no endpoint_free(). */
void original_endpoint(struct endpoint *, const struct conn *);

#endif
