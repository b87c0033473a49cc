/* The resolver of a process that relays datagrams. */

#ifndef UDP_NAMES_H
#define UDP_NAMES_H

struct dns_resolver;
struct dns_result;
struct map;

/*
 * Maps memory for a resolver and initializes it. Returns NULL with errno. To be
 * called after resolver_open(), for a map with names.
 */
struct dns_resolver *names_open(void);

/* Logs why a name has no address; see log_ratelimited(). */
void names_log(const struct map *, const char *name, const struct dns_result *);

#endif
