/* Checks, packs, unpacks and compares domain names. */

#include <string.h>

#include "dns/name.h"

#define LABEL_MAX  63
#define POINTER    0xc0U /* the upper two bits of a compression pointer */
#define DIGITS     "0123456789"
#define HEX        DIGITS "abcdefABCDEF"
#define MSG_HEADER 12 /* no name begins before it */

static unsigned char
fold(unsigned char c)
{
	return c >= 'A' && c <= 'Z' ? (unsigned char)(c + 'a' - 'A') : c;
}

/* Returns true for decimal digits, or 0x and hexadecimal digits. */
static bool
is_number(const char *label, size_t length)
{
	if (length >= 2 && label[0] == '0' &&
	    fold((unsigned char)label[1]) == 'x')
		return strspn(label + 2, HEX) >= length - 2;
	return strspn(label, DIGITS) >= length;
}

enum dns_name_error
dns_name_check(const char *text)
{
	size_t length = strlen(text), label = 0, start = 0;

	for (size_t i = 0; i < length; i++)
		if ((unsigned char)text[i] > 127)
			return DNS_NAME_NOT_ASCII;
	if (length && text[length - 1] == '.')
		length--;
	if (length == 0 || length > DNS_WIRE_MAX - 2)
		return DNS_NAME_INVALID;
	for (size_t i = 0; i < length; i++) {
		if (text[i] <= ' ' || text[i] == 127)
			return DNS_NAME_INVALID;
		if (text[i] == '.') {
			if (label == 0)
				return DNS_NAME_INVALID;
			label = 0;
			start = i + 1;
		} else if (++label > LABEL_MAX) {
			return DNS_NAME_INVALID;
		}
	}
	return label == 0 || is_number(text + start, label) ? DNS_NAME_INVALID
							    : DNS_NAME_OK;
}

/* Appends the labels of a text, without the root label. */
static bool
append(struct dns_name *name, size_t *used, const char *text)
{
	size_t length;

	for (; *text; text += length + (text[length] == '.')) {
		length = strcspn(text, ".");
		if (length == 0 || length > LABEL_MAX ||
		    *used + 1 + length > DNS_WIRE_MAX - 1)
			return false;
		name->wire[(*used)++] = (unsigned char)length;
		memcpy(name->wire + *used, text, length);
		*used += length;
	}
	return true;
}

bool
dns_name_pack(struct dns_name *name, const char *text, const char *domain)
{
	size_t used = 0;

	name->length = 0;
	if (!append(name, &used, text) || !append(name, &used, domain))
		return false;
	name->wire[used++] = 0;
	name->length = (unsigned char)used;
	return true;
}

/*
 * Each pointer leads to before the labels that it ends, so that a name has
 * fewer pointers than the message has bytes.
 */
size_t
dns_name_unpack(struct dns_name *name, const unsigned char *msg, size_t size,
    size_t at)
{
	size_t after = 0, start = at, used = 0;
	unsigned c;

	name->length = 0;
	do {
		if (at >= size)
			return 0;
		c = msg[at];
		if (c >= POINTER) {
			if (at + 1 >= size)
				return 0;
			after = after ? after : at + 2;
			at = (c & ~POINTER) << 8 | msg[at + 1];
			if (at >= start || at < MSG_HEADER)
				return 0;
			start = at;
			continue;
		}
		if (c > LABEL_MAX || at + 1 + c > size ||
		    used + 1 + c > DNS_WIRE_MAX)
			return 0;
		memcpy(name->wire + used, msg + at, c + 1);
		used += c + 1;
		at += c + 1;
	} while (c);
	name->length = (unsigned char)used;
	return after ? after : at;
}

/* Ignoring case does not change lengths of labels: they are less than 'A'. */
bool
dns_name_equal(const struct dns_name *a, const struct dns_name *b)
{
	if (a->length != b->length)
		return false;
	for (size_t i = 0; i < a->length; i++)
		if (fold(a->wire[i]) != fold(b->wire[i]))
			return false;
	return true;
}

bool
dns_text_equal(const char *a, const char *b)
{
	while (*a && fold((unsigned char)*a) == fold((unsigned char)*b)) {
		a++;
		b++;
	}
	return fold((unsigned char)*a) == fold((unsigned char)*b);
}

void
dns_name_mix(struct dns_name *name, const unsigned char *random)
{
	unsigned char *c = name->wire;

	for (size_t i = 0; i < name->length; i++) {
		c[i] = fold(c[i]);
		if (c[i] >= 'a' && c[i] <= 'z' && (random[i / 8] >> i % 8 & 1))
			c[i] = (unsigned char)(c[i] - 'a' + 'A');
	}
}
