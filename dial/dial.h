/* From the targets of a map to a connected socket. */

#ifndef DIAL_DIAL_H
#define DIAL_DIAL_H

struct conn;

/*
 * Dials the requested target, or else the targets of the map in the order of
 * dialer.h, through the hops of the map, and sends the PROXY header. Blocks
 * until conn->deadline at most, or until the client resets. Returns a socket
 * with the options of sock_set_stream_options(), or -1 with errno: ETIMEDOUT,
 * ECONNABORTED if the client has reset, EACCES if reach= does not allow the
 * target, or the errno of the first address of the last target.
 *
 * A target that has reset since it accepted is connected, because it may have
 * sent bytes before: *target_error is then ECONNRESET or EPIPE, else 0.
 */
int dial(const struct conn *, int *target_error);

#endif
