/*
 * Parses resolv.conf(5), hosts(5), and dns=. Pure: dns/files.c finds and reads
 * the files.
 */

#ifndef DNS_CONF_H
#define DNS_CONF_H

#include <netinet/in.h>
#include <stdbool.h>
#include <stddef.h>

#include "base/clock.h"
#include "dns/lexer.h"
#include "dns/result.h"

#define DNS_SERVERS_MAX  8
#define DNS_DOMAINS_MAX  16
#define DNS_SEARCH_SIZE  1024
#define DNS_PORT         53
#define DNS_ROUND_MS     1000 /* of the first round; then doubled each round */
#define DNS_ROUNDS       3    /* default of resolv.conf */
#define DNS_ATTEMPTS_MAX 5
#define DNS_TIMEOUT_MAX  30 /* s */
#define DNS_NDOTS_MAX    15

struct dns_servers {
	unsigned count;
	struct dns_server server[DNS_SERVERS_MAX];
};

/* The contents of a resolv.conf. */
struct dns_conf {
	struct dns_servers servers; /* at most 8; at least 1 after _end() */
	unsigned bad_servers;       /* nameserver lines without an address */
	unsigned ndots;
	unsigned attempts; /* rounds through all servers */
	msec timeout; /* for each try; 0: DNS_ROUND_MS, doubled each round */
	bool rotate, use_tcp, no_aaaa;
	unsigned domains; /* number of domains in search[] */
	size_t search_used;
	char search[DNS_SEARCH_SIZE]; /* each ended by a NUL */
};

/* Reads a resolv.conf in pieces. */
struct dns_conf_reader {
	struct dns_lexer lexer;
	struct dns_conf *conf;
	char keyword[16];
};

/*
 * Sets *conf to the defaults, and prepares the reader, whose lexer the caller
 * then feeds. Words that are not in resolv.conf(5) are ignored.
 */
void dns_conf_begin(struct dns_conf_reader *, struct dns_conf *);

/* Ends the file. Without a nameserver line the server is 127.0.0.1. */
void dns_conf_end(struct dns_conf_reader *);

/* Returns the n-th domain of search[], n < conf->domains. */
const char *dns_conf_domain(const struct dns_conf *, unsigned n);

/*
 * Returns a time combined with 16 bits of a hash of the server's address,
 * because after a change of the file its index is that of another server.
 */
msec dns_server_mark(const struct dns_server *, msec at);

/* Returns the time of a mark. */
#define DNS_MARK_TIME(mark) ((mark) / 65536)

/* Looks for one name in a hosts file, read in pieces. */
struct dns_hosts_reader {
	struct dns_lexer lexer;
	const char *name; /* without a dot at its end */
	struct dns_result *result;
	int family; /* of the line's address; 0: none, or added already */
	unsigned char addr[16];
};

/*
 * Prepares the reader, whose lexer the caller then feeds. Adds each address of
 * the name to the lists of the result, at most 32 of a family. Addresses with a
 * zone are ignored.
 */
void dns_hosts_begin(struct dns_hosts_reader *, const char *name,
    struct dns_result *);

/*
 * Reads the value of dns=: ADDR[+ADDR]..., each IPv4 or IPv6, with a port as
 * 10.0.0.1:5353, 10.0.0.1/5353 or fd00::1/5353, and with the zone that a
 * link-local address needs (fe80::1%eth0). Returns NULL; or a string constant
 * that tells the error, and sets *part to the bad item.
 */
const char *dns_servers_parse(struct dns_servers *, const char *text,
    const char **part);

#endif
