/* The resolver of a process that relays datagrams. */

#ifndef UDP_NAMES_H
#define UDP_NAMES_H

struct dns_resolver;
struct dns_result;
struct map;

/*
 * Returns a resolver in memory of its own, or NULL with errno. resolver_open()
 * has been called, for a map with names.
 */
struct dns_resolver *names_open(void);

/* Logs why a name has no address; see log_ratelimited(). */
void names_log(const struct map *, const char *name, const struct dns_result *);

#endif
