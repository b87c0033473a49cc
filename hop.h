/*
 * What is said to, and heard from, other proxies: the prototypes of hop.c and
 * header.c, whose types are those of nsfwd.h.
 */

#ifndef HOP_H
#define HOP_H

#include "nsfwd.h"

/* hop.c */

#define HOP_HEAD  8192 /* bytes of an HTTP head, with its end */
#define HOP_WORD  255  /* of what has its length in one byte */
#define HOP_BASIC 688  /* of a user and a password, each such a word */

/* How SOCKS5 names a kind of address. */
enum {
	HOP_INET = 1,
	HOP_NAME = 3,
	HOP_INET6 = 4
};

/* A non-blocking socket, and how long one waits for it. */
struct line {
	int fd;
	int client; /* waiting ends when it resets: ECONNABORTED; -1: none */
	deadline until;
};

/*
 * Looks at the first bytes of what comes, one or more: how many of them are
 * the message; 0 if it takes more than these; -1 with errno if it is none.
 * However the bytes come in, the answer is the same.
 */
typedef ssize_t hop_parser(const unsigned char *data, size_t length, void *arg);

/* -1, with that errno. */
int hop_refuse(int err);

/* Waits for one of the events of poll(2): 0, or -1 with errno. */
int hop_wait(const struct line *, short events);

/* Sends all of it: 0, or -1 with errno. */
int hop_write(const struct line *, const void *data, size_t length);

/*
 * Receives one message and no byte behind it: its length; or -1 with errno:
 * ETIMEDOUT, EMSGSIZE not in so many bytes, ECONNRESET it broke off, or the
 * parser's.
 */
ssize_t hop_read(const struct line *line, unsigned char *data, size_t size,
    hop_parser *parse, void *arg);

/* As a parser: an HTTP head, whose lines end in CRLF, and the last is empty. */
ssize_t hop_head(const unsigned char *data, size_t length);

/*
 * How long an address of SOCKS5 is, from its kind to its port, of which there
 * may be less; 0 if that cannot be told yet; -1 with EAFNOSUPPORT.
 */
ssize_t hop_socks_length(const unsigned char *data, size_t length);

/*
 * Writes such an address, all of which is there, as HOST:PORT, HOP_NAME_MAX
 * bytes at most. -1 with EINVAL for a host that holds a NUL.
 */
int hop_socks_text(char *text, const unsigned char *data);

/*
 * Takes HOST:PORT as a stranger says it, replacing *side: what a map's target
 * would be, but no other kind; no path, and no number that only a resolver
 * knows for an address. -1 with EINVAL.
 */
int hop_asked(struct side *side, const char *text);

/* Writes the credentials of HTTP's Basic scheme, HOP_BASIC bytes at most. */
void hop_basic(char *out, const char *user, const char *password);

/*
 * Has the proxy on the line connect to the side's port lo + index. -1 with
 * errno: EACCES it does not allow it or us, EPROTO it speaks something else,
 * or what it says of the target; *code is its own word for that, or 0.
 */
int hop_through(const struct line *, const struct hop *, const struct side *to,
    unsigned index, int *code);

/* header.c */

#define HEADER_SIZE 320

/*
 * Writes the header of the PROXY protocol's version: the client, what it
 * connected to, and, in version 2, the namespace where it did, unless NULL.
 * Peers that are not both IPv4 or both IPv6 are unknown. Returns its length.
 */
size_t header_make(unsigned char *out, unsigned version, const union peer *from,
    const union peer *to, const char *ns);

/*
 * Reads a header of either version, and nothing behind it, into the client
 * and what it connected to; one that names neither leaves them. 0; or -1 with
 * errno, as hop_read().
 */
int header_read(const struct line *, union peer *from, union peer *to);

#endif
