/* Parses and prints counts, durations and address blocks. */

#include <arpa/inet.h>
#include <ctype.h>
#include <netinet/in.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

#include "base/addr.h"
#include "base/array.h"
#include "base/clock.h"
#include "base/text.h"
#include "config/value.h"

const char *
cidr_parse(struct cidr *cidr, char *text)
{
	char *slash = strchr(text, '/');
	struct in6_addr four;
	uint32_t bits, most = 128;
	bool good;

	if (slash)
		*slash++ = '\0';
	if (strchr(text, ':'))
		good = inet_pton(AF_INET6, text, &cidr->addr) == 1 &&
		    !IN6_IS_ADDR_V4MAPPED(&cidr->addr);
	else {
		good = inet_pton(AF_INET, text, &four) == 1;
		cidr->addr = v4_to_mapped(&four);
		most = 32;
	}
	bits = most;
	if (!good || (slash && !parse_uint(slash, 0, most, &bits)))
		return "not ADDR or ADDR/BITS (several with '+' between them)";
	cidr->bits = (uint8_t)(128 - most + bits);
	for (unsigned i = cidr->bits; i < 128; i++)
		if (cidr->addr.s6_addr[i / 8] & 0x80U >> i % 8)
			return "an address with bits set behind its /BITS";
	return NULL;
}

void
cidr_print(FILE *out, const struct cidr *cidr)
{
	char addr[INET6_ADDRSTRLEN] = "";
	bool four = is_v4_cidr(cidr);

	inet_ntop(four ? AF_INET : AF_INET6, &cidr->addr.s6_addr[four ? 12 : 0],
	    addr, sizeof(addr));
	fputs(addr, out);
	if (cidr->bits < 128)
		fprintf(out, "/%u", four ? cidr->bits - 96U : cidr->bits);
}

/* poll(2) and epoll_wait(2) take a little more than 24 days. */
#define DURATION_MAX (24 * (msec)86400000)

/* The largest first: a span is printed in the first that divides it. */
static const struct unit {
	const char *name;
	msec span;
} units[] = {
    {"d", 86400000},
    {"h", 3600000},
    {"m", 60000},
    {"s", 1000},
    {"ms", 1},
    {"", 1000},
};

const char *
parse_count(const char *word, uint32_t least, uint32_t *count)
{
	if (parse_uint(word, least, 1000000, count))
		return NULL;
	return least ? "not a whole number from 1 to 1000000 (no leading 0)"
		     : "not a whole number from 0 to 1000000 (no leading 0)";
}

const char *
parse_duration(const char *word, msec *timeout)
{
	static const char wrong[] = "not a time in whole milliseconds, such as "
				    "10, 1.5s, 500ms, 5m, 2h or 1d";
	msec value = 0, scale = 1000; /* in thousandths of the unit */
	const struct unit *unit = units;
	const char *s = word;

	/* Far above what is right it stops growing. */
	for (; isdigit((unsigned char)*s); s++)
		if (value <= DURATION_MAX * 1000)
			value = value * 10 + (*s - '0') * scale;
	if (s > word && s[0] == '.' && isdigit((unsigned char)s[1]))
		for (s++; isdigit((unsigned char)*s) && scale > 1; s++) {
			scale /= 10;
			value += (*s - '0') * scale;
		}
	while (unit < units + ARRAY_LEN(units) && strcmp(s, unit->name) != 0)
		unit++;
	if (s == word || unit == units + ARRAY_LEN(units))
		return wrong;
	if (value / 1000 > DURATION_MAX / unit->span ||
	    value * unit->span > DURATION_MAX * 1000)
		return "longer than 24d (0 is for ever)";
	if (value * unit->span % 1000)
		return wrong;
	*timeout = value * unit->span / 1000;
	return NULL;
}

void
duration_print(FILE *out, msec value)
{
	const struct unit *unit = units;

	while (value && value % unit->span)
		unit++;
	fprintf(out, "%lld%s", (long long)(value / unit->span),
	    value ? unit->name : "");
}
