/* Domain names: as text, and as they stand in a message (RFC 1035 3.1). */

#ifndef DNS_NAME_H
#define DNS_NAME_H

#include <stdbool.h>
#include <stddef.h>

#define DNS_WIRE_MAX  255 /* longest name in a message, RFC 1035 2.3.4 */
#define DNS_TEXT_SIZE 256 /* longest text: 253 bytes, a dot, a NUL */

/* A name as in a message, uncompressed; length 0: no name. */
struct dns_name {
	unsigned char length;
	unsigned char wire[DNS_WIRE_MAX];
};

enum dns_name_error {
	DNS_NAME_OK,
	DNS_NAME_INVALID,  /* see dns_name_check() */
	DNS_NAME_NOT_ASCII /* a byte above 127: the user writes xn-- */
};

/*
 * Checks a name that a user wrote. Each label has 1 to 63 bytes, none of them a
 * blank or a control byte. The name has at most 253 bytes, and may have one dot
 * more at its end. A name whose last label is a number (127.1, 0x7f.1) is
 * invalid, because other resolvers take it for an address. Pure.
 */
enum dns_name_error dns_name_check(const char *text);

/*
 * Writes `text` and then `domain` ("" for none) as one name. Returns false if
 * the name is too long or invalid. Pure.
 */
bool dns_name_pack(struct dns_name *, const char *text, const char *domain);

/*
 * Reads the name at an offset of a message, compressed or not (RFC 1035 4.1.4).
 * A pointer must lead backwards, so that no chain of pointers is endless.
 * Returns the offset behind the name, or 0 if it is malformed. Pure.
 */
size_t dns_name_unpack(struct dns_name *, const unsigned char *msg, size_t size,
    size_t at);

/* Compares two names without regard to case (RFC 4343). */
bool dns_name_equal(const struct dns_name *, const struct dns_name *);

/* Compares two texts without regard to the case of ASCII letters. */
bool dns_text_equal(const char *, const char *);

/*
 * Sets the case of each letter from a random bit (draft-vixie-dnsext-dns0x20).
 * `random` has DNS_WIRE_MAX / 8 + 1 bytes.
 */
void dns_name_mix(struct dns_name *, const unsigned char *random);

#endif
