/*
 * The mapper of a TCP map with workers whose handshakes block: it keeps the
 * processes of connections for more clients.
 */

#ifndef TCP_KEPT_H
#define TCP_KEPT_H

struct mapper_args;

/* Prepares the mapper. Returns -1 with errno. */
int kept_init(const struct mapper_args *);

/* Accepts clients until it has drained, then exits. */
_Noreturn void kept_run(void);

#endif
