/* Forwarding of a plain HTTP request to its target. */

#ifndef PROXY_FORWARD_H
#define PROXY_FORWARD_H

struct conn_report;
struct proxy_session;

/*
 * Sends the request head of a REQUEST_HTTP session to the target, then forwards
 * the request body until the status line of the response has reached the
 * client, a peer has ended its stream, or the client has reset. Counts the
 * bytes in the report.
 *
 * *target_error is the error that the target's socket has met since it was
 * connected, or 0. After an error nothing more is written to the target.
 *
 * Returns 0 if relay() is to move the other bytes, with *target_error. Returns
 * -1 with errno, and the end in the report: END_IDLE for ETIMEDOUT, else
 * END_TARGET. For ECONNABORTED the client has failed, and the target has
 * acknowledged all bytes.
 */
int proxy_forward(struct proxy_session *, int target, struct conn_report *,
    int *target_error);

#endif
