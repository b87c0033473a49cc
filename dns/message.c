/*
 * Builds questions and reads answers of the DNS.
 *
 * Theory of operation: the records of an answer come in any order. The chain
 * of aliases is followed by looking through all of them for each name of the
 * chain; limits for aliases and records bound the time. Records of another
 * owner, type or class are ignored.
 */

#include <string.h>

#include "dns/message.h"

#define HEADER      12
#define CLASS_IN    1
#define ALIASES_MAX 16
#define RECORDS_MAX 512

#define FLAG_QR     0x8000U
#define FLAG_OPCODE 0x7800U
#define FLAG_AA     0x0400U
#define FLAG_TC     0x0200U
#define FLAG_RD     0x0100U
#define FLAG_RA     0x0080U

struct record {
	struct dns_name owner;
	uint16_t type, class, length;
	uint32_t ttl;
	size_t data; /* offset of the length bytes */
};

static unsigned char *
put16(unsigned char *p, unsigned value)
{
	p[0] = (unsigned char)(value >> 8);
	p[1] = (unsigned char)value;
	return p + 2;
}

static unsigned
get16(const unsigned char *p)
{
	return (unsigned)p[0] << 8 | p[1];
}

static uint32_t
get32(const unsigned char *p)
{
	return (uint32_t)get16(p) << 16 | get16(p + 2);
}

size_t
dns_message_build(unsigned char *out, const struct dns_question *q)
{
	unsigned char *p = out;

	p = put16(p, q->id);
	p = put16(p, FLAG_RD);
	p = put16(p, 1);
	p = put16(p, 0);
	p = put16(p, 0);
	p = put16(p, q->edns);
	memcpy(p, q->name.wire, q->name.length);
	p = put16(p + q->name.length, q->type);
	p = put16(p, CLASS_IN);
	if (q->edns) {
		*p++ = 0; /* the root */
		p = put16(p, DNS_TYPE_OPT);
		p = put16(p, DNS_EDNS_SIZE);
		memset(p, 0, 6);
		p += 6;
	}
	return (size_t)(p - out);
}

enum dns_match
dns_message_match(const unsigned char *msg, size_t size,
    const struct dns_question *q)
{
	struct dns_name name;
	unsigned flags, questions;
	size_t at;

	if (size < HEADER || get16(msg) != q->id)
		return DNS_MATCH_NONE;
	flags = get16(msg + 2);
	questions = get16(msg + 4);
	if (!(flags & FLAG_QR) || (flags & FLAG_OPCODE))
		return DNS_MATCH_NONE;
	if (questions == 0 &&
	    ((flags & 15) == DNS_RCODE_FORMERR ||
		(flags & 15) == DNS_RCODE_NOTIMP))
		return DNS_MATCH_FULL;
	if (questions != 1)
		return DNS_MATCH_NONE;
	at = dns_name_unpack(&name, msg, size, HEADER);
	if (!at || at + 4 > size || get16(msg + at) != q->type ||
	    get16(msg + at + 2) != CLASS_IN || !dns_name_equal(&name, &q->name))
		return DNS_MATCH_NONE;
	return memcmp(name.wire, q->name.wire, name.length) == 0
	    ? DNS_MATCH_FULL
	    : DNS_MATCH_CASE;
}

/* Reads the record at an offset. Returns the offset after it; 0: malformed. */
static size_t
read_record(struct record *r, const unsigned char *msg, size_t size, size_t at)
{
	at = dns_name_unpack(&r->owner, msg, size, at);
	if (!at || at + 10 > size)
		return 0;
	r->type = (uint16_t)get16(msg + at);
	r->class = (uint16_t)get16(msg + at + 2);
	r->ttl = get32(msg + at + 4);
	if (r->ttl > INT32_MAX)
		r->ttl = 0; /* RFC 2181 8 */
	r->length = (uint16_t)get16(msg + at + 8);
	r->data = at + 10;
	return r->data + r->length > size ? 0 : r->data + r->length;
}

/* Returns the offset of the first answer record; 0: malformed. */
static size_t
skip_question(const unsigned char *msg, size_t size)
{
	struct dns_name name;
	size_t at = HEADER;

	if (get16(msg + 4) == 0)
		return at;
	at = dns_name_unpack(&name, msg, size, at);
	return at && at + 4 <= size ? at + 4 : 0;
}

static void
take_address(struct dns_answer *a, const unsigned char *data, size_t length)
{
	for (unsigned i = 0; i < a->count; i++)
		if (memcmp(a->addr[i], data, length) == 0)
			return;
	if (a->count < DNS_ADDRS_MAX)
		memcpy(a->addr[a->count++], data, length);
}

struct scan {
	const unsigned char *msg;
	size_t size, at; /* at: offset of the first answer */
	bool cut;
	unsigned count; /* number of answer records */
	uint16_t type;
	struct dns_name name; /* owner of the records to find */
};

/*
 * Adds a record to the answer if the record is of s->name. Returns 1 if it is a
 * CNAME, whose target s->name becomes; -1 if it is malformed; otherwise 0.
 */
static int
take_record(struct scan *s, const struct record *r, struct dns_answer *a)
{
	size_t length = s->type == DNS_TYPE_A ? 4 : 16;

	if (r->class != CLASS_IN || !dns_name_equal(&r->owner, &s->name) ||
	    (r->type != s->type && r->type != DNS_TYPE_CNAME))
		return 0;
	if (r->ttl < a->ttl)
		a->ttl = r->ttl;
	if (r->type == DNS_TYPE_CNAME)
		return dns_name_unpack(&s->name, s->msg, r->data + r->length,
			   r->data)
		    ? 1
		    : -1;
	if (r->length != length)
		return -1;
	take_address(a, s->msg + r->data, length);
	return 0;
}

/* Adds the records of s->name. Returns 1 after a CNAME; -1: malformed; or 0. */
static int
scan_name(struct scan *s, struct dns_answer *a)
{
	struct record r;
	size_t at = s->at;
	int found = 0;

	for (unsigned i = 0; i < s->count && found == 0; i++) {
		at = read_record(&r, s->msg, s->size, at);
		if (!at)
			return s->cut ? 0 : -1;
		found = take_record(s, &r, a);
	}
	return found;
}

/* Adds the upper bits of the response code, from OPT (RFC 6891 6.1.3). */
static void
read_opt(const struct scan *s, struct dns_answer *a)
{
	struct record r;
	size_t at = s->at;
	unsigned records = s->count;

	records += get16(s->msg + 8) + get16(s->msg + 10);
	for (unsigned i = 0; i < records && i < RECORDS_MAX; i++) {
		at = read_record(&r, s->msg, s->size, at);
		if (!at)
			return;
		if (r.type == DNS_TYPE_OPT && r.owner.length == 1) {
			a->rcode |= (unsigned)s->msg[r.data - 6] << 4;
			return;
		}
	}
}

static int
follow(struct scan *s, struct dns_answer *a)
{
	int found;

	while ((found = scan_name(s, a)) == 1)
		if (++a->aliases > ALIASES_MAX)
			return -2;
	if (found == 0 && a->aliases && a->count == 0)
		a->alias = s->name;
	return found;
}

int
dns_message_parse(const unsigned char *msg, size_t size, bool cut,
    const struct dns_question *q, struct dns_answer *a)
{
	struct scan s = {.msg = msg, .size = size, .cut = cut};
	unsigned flags = get16(msg + 2);

	memset(a, 0, sizeof(*a));
	a->ttl = INT32_MAX;
	a->rcode = flags & 15;
	a->truncated = flags & FLAG_TC;
	s.cut = cut || a->truncated;
	s.at = skip_question(msg, size);
	if (!s.at)
		return -1;
	s.count = get16(msg + 6);
	if (s.count > RECORDS_MAX)
		s.count = RECORDS_MAX;
	s.type = q->type;
	s.name = q->name;
	a->lame = s.count == 0 && !(flags & (FLAG_AA | FLAG_RA));
	if (q->edns)
		read_opt(&s, a);
	return follow(&s, a);
}
