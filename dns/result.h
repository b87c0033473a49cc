/* The result of a look-up: addresses, or an error and its text. */

#ifndef DNS_RESULT_H
#define DNS_RESULT_H

#include <netinet/in.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "dns/message.h"

enum dns_status {
	DNS_PENDING,
	DNS_OK,
	DNS_NO_NAME,    /* NXDOMAIN */
	DNS_NO_ADDRESS, /* the name exists without address */
	DNS_FAILED,     /* an error of the server, or a malformed answer */
	DNS_REFUSED,    /* REFUSED */
	DNS_NO_ANSWER,  /* no server answered in time or was reachable */
	DNS_BAD_FILE,   /* resolv.conf or hosts cannot be read */
	DNS_BAD_NAME,
	DNS_NOT_ASCII,
	DNS_ALIASES, /* CNAMEs that are a loop, or too many */
	DNS_LOCAL    /* out of descriptors or memory */
};

/* A name server: an address with its port. */
struct dns_server {
	union {
		struct sockaddr any;
		struct sockaddr_in four;
		struct sockaddr_in6 six;
	} addr;
	char zone[16]; /* interface of a link-local address, or "" */
};

/* The addresses of one family. */
struct dns_list {
	enum dns_status status;
	int error;    /* a response code; an errno for NO_ANSWER and LOCAL */
	uint32_t ttl; /* seconds */
	unsigned count;
	struct dns_server server; /* that answered; family 0: none */
	unsigned char addr[DNS_ADDRS_MAX][16]; /* IPv4: the first 4 bytes */
};

enum dns_file {
	DNS_OWN_CONF, /* of the namespace */
	DNS_OWN_HOSTS,
	DNS_ETC_CONF,
	DNS_ETC_HOSTS
};

enum {
	DNS_FOUR,
	DNS_SIX,
	DNS_FAMILIES
};

struct dns_result {
	enum dns_status status;
	int error;          /* an errno for BAD_FILE; else that of a list */
	enum dns_file file; /* for BAD_FILE */
	bool six_first;     /* IPv6 addresses are to be tried first */
	uint32_t ttl;       /* seconds; the least of both lists */
	struct dns_list list[DNS_FAMILIES];
	uint32_t serial; /* of a result of a resolver: other ones differ */
};

struct dns_addr {
	int family; /* AF_INET or AF_INET6 */
	unsigned char addr[16];
};

/* Adds an address to a list, unless the list has it already or is full. */
void dns_list_add(struct dns_list *, const unsigned char *addr, size_t length);

/*
 * Sets status, error and ttl of the result from both lists. Neither list is
 * pending, unless the other one has addresses.
 */
void dns_result_settle(struct dns_result *);

/*
 * Writes the addresses in the order in which to try them: one of the first
 * family, one of the other, and so on (RFC 8305 4). Returns how many, at most
 * max.
 */
size_t dns_result_addrs(const struct dns_result *, struct dns_addr *,
    size_t max);

/*
 * Describes the status, with the server that answered:
 * "no such name, says 10.0.0.53". Returns buf, of DNS_TEXT_MAX bytes or more.
 * path names the file of BAD_FILE, see dns_files_path().
 */
#define DNS_TEXT_MAX 512
const char *dns_result_text(const struct dns_result *, const char *path,
    char *buf, size_t size);

/* Returns the server that decided the status, or NULL if there is none. */
const struct dns_server *dns_result_server(const struct dns_result *);

/* Returns true for 127.0.0.0/8 and ::1. */
bool dns_server_is_loopback(const struct dns_server *);

/* Writes "10.0.0.53", "10.0.0.53:5353", "fd00::53/5353" or "fe80::1%eth0". */
#define DNS_SERVER_TEXT 72
const char *dns_server_text(const struct dns_server *, char *buf);

#endif
