/* The server side of a proxy: a client's request and its reply. */

#ifndef PROXY_SERVER_H
#define PROXY_SERVER_H

#include <stdbool.h>

#include "base/io.h"
#include "config/endpoint.h"
#include "proxy/http.h"

struct conn_report;
struct map;

/* The protocol of a request and of its reply. */
enum request_kind {
	REQUEST_NONE, /* nothing that can be answered, or the answer is sent */
	REQUEST_SOCKS4,
	REQUEST_SOCKS5,
	REQUEST_HTTP, /* plain: the target sends the reply */
	REQUEST_CONNECT
};

/* A client of a proxy. The caller sets four members, and zeroes the others. */
struct proxy_session {
	const struct map *map; /* for its auth= and its timeouts */
	struct io client;
	bool udp_offered;           /* UDP ASSOCIATE can be granted */
	struct conn_report *report; /* gets what the client asks for */
	enum request_kind kind;
	bool udp;               /* the request is UDP ASSOCIATE */
	struct endpoint target; /* of any other request; endpoint_free() it */
	struct http_request request; /* of REQUEST_HTTP; proxy_forward()
					overwrites the text */
	size_t used;                 /* bytes from in_buf on, at most */
	unsigned char in_buf[HTTP_HEAD_MAX + 1];
	char out[HTTP_HEAD_MAX + 512]; /* a head in the form for the receiver */
};

/*
 * Reads a request of SOCKS4, SOCKS4a, SOCKS5 or HTTP, and no byte behind it,
 * and authenticates the client. Returns -1 with errno: EPERM without the right
 * password, EINVAL, EPROTO or EMSGSIZE for a malformed request, EOPNOTSUPP or
 * EAFNOSUPPORT for an unknown one, or that of io_read_message().
 */
int proxy_read_request(struct proxy_session *);

/*
 * Sends the reply to a request: granted if err is 0, else refused with the code
 * for an errno or enum name_error. Sends nothing for a granted
 * REQUEST_HTTP. Returns -1 with errno.
 */
int proxy_send_reply(struct proxy_session *, int err);

/*
 * Waits for the next request of a client that has received a response. Returns
 * true if it comes, which is then read by proxy_read_request(); false if the
 * client has ended its stream, or is idle for too long.
 */
bool proxy_wait_request(struct proxy_session *);

/*
 * Sends the end of the stream, and waits up to a second for the client to
 * close, because unread bytes make close(2) a reset, which would overtake what
 * was sent.
 */
void proxy_close(struct proxy_session *);

/*
 * Sends the reply for err, and does as proxy_close(). Does nothing for
 * ECONNABORTED and ECONNRESET, because the client has reset.
 */
void proxy_send_error_and_close(struct proxy_session *, int err);

/* Fills with zeros what a client has sent and got. */
void proxy_forget(struct proxy_session *);

#endif
