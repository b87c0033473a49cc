/* Forwarding of a plain HTTP request to its target, and of the response. */

#ifndef PROXY_FORWARD_H
#define PROXY_FORWARD_H

struct conn_report;
struct proxy_session;

/* The use of the connection after a response. */
enum forward {
	FORWARD_FAILED = -1,
	FORWARD_NEXT,  /* the client may send another request */
	FORWARD_CLOSE, /* the client waits for the end of its stream */
	FORWARD_TUNNEL /* other protocol than HTTP: relay() moves all bytes */
};

/*
 * Sends the request of a session of REQUEST_HTTP to the target, its body too,
 * and the response to the client. Counts the bytes in the report.
 *
 * *target_error is the error that the target's socket has met since it was
 * connected, or 0. After an error nothing more is written to the target.
 *
 * FORWARD_FAILED comes with errno, and the end in the report: END_HANDSHAKE and
 * EPROTO for a malformed request body; END_CLIENT for a client that has failed,
 * after the target has acknowledged all bytes; END_IDLE for ETIMEDOUT; else
 * END_TARGET. s->kind is then REQUEST_NONE if the client has received a part of
 * a response.
 */
enum forward proxy_forward(struct proxy_session *, int target,
    struct conn_report *, int *target_error);

#endif
