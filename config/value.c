/* Parses and prints the values of options and keys. */

#include <arpa/inet.h>
#include <ctype.h>
#include <grp.h>
#include <netinet/in.h>
#include <pwd.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

#include "config/value.h"

#include "base/addr.h"
#include "base/array.h"
#include "base/clock.h"
#include "base/sandbox.h"
#include "base/secret.h"
#include "base/text.h"
#include "config/map.h"

#define COUNT_MAX    1000000
#define USER_MAX     255           /* of RFC 1929, also of a password */
#define DURATION_MAX (24 * DAY_MS) /* poll(2) takes a little more */
#define DAY_MS       ((msec)86400000)

/* A span is printed in the first unit that divides it. */
static const struct unit {
	const char *name;
	msec span;
} units[] = {
    {"d", DAY_MS},
    {"h", 3600000},
    {"m", 60000},
    {"s", 1000},
    {"ms", 1},
    {"", 1000},
};

static const char bits_set[] = "an address with bits set behind its /BITS";

const char *
cidr_parse(struct cidr *cidr, char *text)
{
	char *slash = strchr(text, '/');
	struct in6_addr ipv4;
	uint32_t bits, max_bits = 128;
	bool good;

	if (slash)
		*slash++ = '\0';
	if (strchr(text, ':'))
		good = inet_pton(AF_INET6, text, &cidr->addr) == 1 &&
		    !IN6_IS_ADDR_V4MAPPED(&cidr->addr);
	else {
		good = inet_pton(AF_INET, text, &ipv4) == 1;
		cidr->addr = v4_to_mapped(&ipv4);
		max_bits = 32;
	}
	bits = max_bits;
	if (good && slash && parse_uint(slash, 0, UINT32_MAX, &bits) &&
	    bits > max_bits)
		return max_bits == 32 ? "an IPv4 address has 32 bits"
				      : "an IPv6 address has 128 bits";
	if (!good || (slash && !parse_uint(slash, 0, max_bits, &bits)))
		return "not ADDR or ADDR/BITS (several with '+' between them)";
	cidr->bits = (uint8_t)(128 - max_bits + bits);
	for (unsigned i = cidr->bits; i < 128; i++)
		if (cidr->addr.s6_addr[i / 8] & 0x80U >> i % 8)
			return bits_set;
	return NULL;
}

bool
cidr_parse_net(struct cidr *cidr, char *text)
{
	if (cidr_parse(cidr, text) != bits_set)
		return false;
	for (unsigned i = cidr->bits; i < 128; i++)
		cidr->addr.s6_addr[i / 8] &= (uint8_t) ~(0x80U >> i % 8);
	return true;
}

void
cidr_print(FILE *out, const struct cidr *cidr)
{
	char addr[INET6_ADDRSTRLEN] = "";
	bool ipv4 = is_v4_cidr(cidr);

	inet_ntop(ipv4 ? AF_INET : AF_INET6, &cidr->addr.s6_addr[ipv4 ? 12 : 0],
	    addr, sizeof(addr));
	fputs(addr, out);
	if (cidr->bits < 128)
		fprintf(out, "/%u", ipv4 ? cidr->bits - 96U : cidr->bits);
}

const char *
parse_count(const char *text, uint32_t min, uint32_t *count)
{
	if (parse_uint(text, min, COUNT_MAX, count))
		return NULL;
	return min ? "not a whole number from 1 to 1000000 (no leading 0)"
		   : "not a whole number from 0 to 1000000 (no leading 0)";
}

const char *
parse_workers(const char *text, uint32_t *count)
{
	return parse_uint(text, 0, WORKERS_MAX, count)
	    ? NULL
	    : "not a whole number from 0 to 256 (no leading 0)";
}

const char *
parse_duration(const char *text, msec *timeout)
{
	static const char wrong[] = "not a time in whole milliseconds, such as "
				    "10, 1.5s, 500ms, 5m, 2h or 1d";
	msec value = 0, scale = 1000; /* in thousandths of the unit */
	const struct unit *unit = units;
	const char *s = text;

	/* A value far above the maximum is not changed any more. */
	for (; isdigit((unsigned char)*s); s++)
		if (value <= DURATION_MAX * 1000)
			value = value * 10 + (*s - '0') * scale;
	if (s > text && s[0] == '.' && isdigit((unsigned char)s[1]))
		for (s++; isdigit((unsigned char)*s) && scale > 1; s++) {
			scale /= 10;
			value += (*s - '0') * scale;
		}
	while (unit < units + ARRAY_LEN(units) && strcmp(s, unit->name) != 0)
		unit++;
	if (s == text || unit == units + ARRAY_LEN(units))
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

const char *
parse_user_password(const char *text, char **user, char **password)
{
	const char *secret = strchr(text, ':');
	size_t length = secret ? (size_t)(secret - text) : 0;

	if (length < 1 || length > USER_MAX)
		return "write USER:PASSWORD, or the absolute path of a file "
		       "that holds it";
	secret++;
	if (!secret[strspn(secret, "*")] || strlen(secret) > USER_MAX)
		return "a password of 1 to 255 bytes is missing (--check does "
		       "not print it)";
	*user = strndup(text, length);
	*password = secret_copy(secret);
	return *user && *password ? NULL : "out of memory";
}

const char *
parse_cred(struct cred *cred, const char *text)
{
	char name[256];
	size_t length = strcspn(text, ":");
	const char *group = text[length] ? text + length + 1 : NULL;
	const struct passwd *user;
	const struct group *entry = NULL;
	bool is_number;

	if (!length || length >= sizeof(name))
		return "no user";
	memcpy(name, text, length);
	name[length] = '\0';
	is_number = parse_uint(name, 0, INT32_MAX, &cred->uid);
	user = is_number ? getpwuid(cred->uid) : getpwnam(name);
	if (!user && !is_number)
		return "no such user";
	cred->uid = user ? user->pw_uid : cred->uid;
	cred->gid = user ? user->pw_gid : cred->uid;
	cred->explicit = true;
	if (!group || parse_uint(group, 0, INT32_MAX, &cred->gid))
		return NULL;
	entry = getgrnam(group);
	cred->gid = entry ? entry->gr_gid : cred->gid;
	return entry ? NULL : "no such group";
}
