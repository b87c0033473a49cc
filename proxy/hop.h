/* Connecting through a proxy on the way to a target. */

#ifndef PROXY_HOP_H
#define PROXY_HOP_H

struct endpoint;
struct hop;
struct io;

/*
 * Has the proxy on the line connect to the side's port lo + index. -1 with
 * errno: EACCES it does not allow it or us, EPROTO it speaks something else,
 * or what it says of the target; *code is its own word for that, or 0.
 */
int hop_connect(const struct io *, const struct hop *,
    const struct endpoint *to, unsigned index, int *code);

#endif
