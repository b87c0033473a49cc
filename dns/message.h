/* Messages of the DNS (RFC 1035 4): builds questions, reads answers. Pure. */

#ifndef DNS_MESSAGE_H
#define DNS_MESSAGE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "dns/name.h"

#define DNS_TYPE_A     1
#define DNS_TYPE_CNAME 5
#define DNS_TYPE_AAAA  28 /* RFC 3596 */
#define DNS_TYPE_OPT   41 /* RFC 6891 */

#define DNS_RCODE_OK      0
#define DNS_RCODE_FORMERR 1
#define DNS_RCODE_FAILED  2
#define DNS_RCODE_NXNAME  3
#define DNS_RCODE_NOTIMP  4
#define DNS_RCODE_REFUSED 5
#define DNS_RCODE_BADVERS 16  /* RFC 6891 9 */
#define DNS_RCODE_LAME    256 /* no response code: see `lame` below */

#define DNS_ADDRS_MAX  32   /* addresses of a family that are kept */
#define DNS_EDNS_SIZE  1232 /* UDP answer size to offer with EDNS(0) */
#define DNS_QUERY_SIZE (12 + DNS_WIRE_MAX + 4 + 11)

struct dns_question {
	struct dns_name name;
	uint16_t type, id;
	bool edns; /* offer EDNS(0), RFC 6891 */
};

enum dns_match {
	DNS_MATCH_NONE, /* no answer to the question */
	DNS_MATCH_CASE, /* an answer, with other case of letters */
	DNS_MATCH_FULL
};

struct dns_answer {
	unsigned rcode;   /* with the upper bits of EDNS(0) */
	bool truncated;   /* the TC bit */
	bool lame;        /* neither authoritative nor recursive, and empty */
	unsigned count;   /* number of addresses */
	unsigned aliases; /* CNAMEs that were followed */
	uint32_t ttl;     /* seconds, the least of all records that were used */
	struct dns_name alias; /* the last alias, if it has no address */
	unsigned char addr[DNS_ADDRS_MAX][16];
};

/* Writes the question and returns its length, at most DNS_QUERY_SIZE. */
size_t dns_message_build(unsigned char *out, const struct dns_question *);

/*
 * Compares ID, QR, opcode, and the question section: name, type, class (RFC
 * 5452 9.1). FORMERR and NOTIMP may come without a question section.
 */
enum dns_match dns_message_match(const unsigned char *msg, size_t size,
    const struct dns_question *);

/*
 * Reads a message that matches the question. If `cut`, the message was longer
 * than `size`, and a missing end is no error. Follows at most 16 CNAMEs, and
 * reads at most 512 records. Returns 0; -1 if the message is malformed; -2 if
 * the CNAMEs are a loop or more than 16.
 */
int dns_message_parse(const unsigned char *msg, size_t size, bool cut,
    const struct dns_question *, struct dns_answer *);

#endif
