/* One connection on standard input and output. */

#ifndef TCP_STDIO_H
#define TCP_STDIO_H

struct config;

/* Serves the one map, of which LISTEN is "-", in the place of serve(). */
int stdio_run(const struct config *);

#endif
