/* The server side of a proxy: a client's request and its reply. */

#ifndef PROXY_SERVER_H
#define PROXY_SERVER_H

#include <stdbool.h>

#include "base/io.h"
#include "config/endpoint.h"
#include "proxy/http.h"

struct map;

/* The protocol of a request, which is that of its reply. */
enum request_kind {
	REQUEST_NONE, /* the client has sent nothing that can be answered */
	REQUEST_SOCKS4,
	REQUEST_SOCKS5,
	REQUEST_HTTP, /* plain: the target sends the reply */
	REQUEST_CONNECT
};

/* A client of a proxy. The caller sets four members, and zeroes the others. */
struct proxy_session {
	const struct map *map; /* user= of the clients, times */
	struct io client;
	bool udp_offered; /* UDP ASSOCIATE can be granted */
	char *requested;  /* gets HOST:PORT as the client wrote it,
			     HOSTPORT_MAX bytes */
	enum request_kind kind;
	bool udp;               /* the request is UDP ASSOCIATE */
	struct endpoint target; /* of any other request; endpoint_free() it */
	unsigned char in_buf[HTTP_HEAD_MAX + 1];
	/* The request head for the target, of REQUEST_HTTP. */
	char request[HTTP_HEAD_MAX + 64];
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
 * Sends the reply for err, then the end of the stream, and waits up to a second
 * for the client to close, because a reset would overtake the reply and unread
 * bytes make close(2) a reset. Does nothing for ECONNABORTED and ECONNRESET,
 * because the client has reset.
 */
void proxy_send_error_and_close(struct proxy_session *, int err);

#endif
