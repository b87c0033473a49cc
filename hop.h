/*
 * What is said to, and heard from, other proxies: the prototypes of hop.c and
 * header.c, whose types are those of nsfwd.h.
 */

#ifndef HOP_H
#define HOP_H

#include "nsfwd.h"

/* hop.c */

#define HTTP_HEAD_MAX    8192 /* bytes of an HTTP head, with its end */
#define SOCKS_STRING_MAX 255  /* of what has its length in one byte */
#define BASIC_AUTH_MAX   688  /* of a user and a password, each such a word */

/* How SOCKS5 names a kind of address. */
enum {
	SOCKS_ATYP_V4 = 1,
	SOCKS_ATYP_DOMAIN = 3,
	SOCKS_ATYP_V6 = 4
};

/* A non-blocking socket, and how long one waits for it. */
struct io {
	int fd;
	int abort_fd; /* waiting ends when it resets: ECONNABORTED; -1: none */
	msec deadline;
};

/*
 * Looks at the first bytes of what comes, one or more: how many of them are
 * the message; 0 if it takes more than these; -1 with errno if it is none.
 * However the bytes come in, the answer is the same.
 */
typedef ssize_t io_parser(const unsigned char *data, size_t length, void *arg);

/* -1, with that errno. */
int fail_errno(int err);

/* Waits for one of the events of poll(2): 0, or -1 with errno. */
int io_wait_for(const struct io *, short events);

/* Sends all of it: 0, or -1 with errno. */
int io_write_all(const struct io *, const void *data, size_t length);

/*
 * Receives one message and no byte behind it: its length; or -1 with errno:
 * ETIMEDOUT, EMSGSIZE not in so many bytes, ECONNRESET it broke off, or the
 * parser's.
 */
ssize_t io_read_message(const struct io *io, unsigned char *data, size_t size,
    io_parser *parse, void *arg);

/* As a parser: an HTTP head, whose lines end in CRLF, and the last is empty. */
ssize_t http_head_length(const unsigned char *data, size_t length);

/*
 * How long an address of SOCKS5 is, from its kind to its port, of which there
 * may be less; 0 if that cannot be told yet; -1 with EAFNOSUPPORT.
 */
ssize_t socks_addr_length(const unsigned char *data, size_t length);

/*
 * Writes such an address, all of which is there, as HOST:PORT, HOSTPORT_MAX
 * bytes at most. -1 with EINVAL for a host that holds a NUL.
 */
int socks_addr_format(char *text, const unsigned char *data);

/*
 * Takes HOST:PORT as a stranger says it, replacing *side: what a map's target
 * would be, but no other kind; no path, and no number that only a resolver
 * knows for an address. -1 with EINVAL.
 */
int endpoint_parse_untrusted(struct endpoint *ep, const char *text);

/* Writes the credentials of HTTP's Basic scheme, BASIC_AUTH_MAX bytes at most. */
void http_basic_auth(char *out, const char *user, const char *password);

/*
 * Has the proxy on the line connect to the side's port lo + index. -1 with
 * errno: EACCES it does not allow it or us, EPROTO it speaks something else,
 * or what it says of the target; *code is its own word for that, or 0.
 */
int hop_connect(const struct io *, const struct hop *,
    const struct endpoint *to, unsigned index, int *code);

/* header.c */

#define HEADER_SIZE 320

/*
 * Writes the header of the PROXY protocol's version: the client, what it
 * connected to, and, in version 2, the namespace where it did, unless NULL.
 * Peers that are not both IPv4 or both IPv6 are unknown. Returns its length.
 */
size_t pp_write(unsigned char *out, unsigned version,
    const union sockaddr_inet *from, const union sockaddr_inet *to,
    const char *ns);

/*
 * Reads a header of either version, and nothing behind it, into the client
 * and what it connected to; one that names neither leaves them. 0; or -1 with
 * errno, as io_read_message().
 */
int pp_read(const struct io *, union sockaddr_inet *from,
    union sockaddr_inet *to);

#endif
