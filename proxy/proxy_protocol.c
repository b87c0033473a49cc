/* Writes and reads headers of the PROXY protocol. */

#include <arpa/inet.h>
#include <errno.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/types.h>

#include "base/addr.h"
#include "base/io.h"
#include "base/text.h"
#include "proxy/proxy_protocol.h"

#define V1_MAX      107         /* bytes of a header, CRLF included */
#define V2_FIXED    16          /* bytes up to the length field, included */
#define V2_MAX      PP_TLVS_MAX /* bytes behind the length field */
#define V2_LOCAL    0x20        /* version and command: of the proxy itself */
#define V2_PROXY    0x21        /* version and command: of a client */
#define V2_TCP4     0x11        /* family and protocol */
#define V2_TCP6     0x21
#define V2_STREAM   1 /* of the lower half of that byte */
#define V2_DGRAM    2
#define V2_CRC32C   0x03 /* types of a field, PP2_TYPE_* */
#define V2_NOOP     0x04
#define V2_NETNS    0x30
#define TLV_FIXED   3 /* bytes of a field before its value */
#define NS_NAME_MAX 255

/* The contents of a header: the client, and the address it connected to. */
struct pp_header {
	union sockaddr_inet addrs[2];
	struct pp_tlvs *tlvs;
};

static const unsigned char v2_signature[12] = "\r\n\r\n\0\r\nQUIT\n";

static const void *
ip_of(const union sockaddr_inet *addr)
{
	if (addr->sa.sa_family == AF_INET6)
		return &addr->v6.sin6_addr;
	return &addr->v4.sin_addr;
}

/*
 * Writes a header. If client is NULL, the header says that it is unknown; else
 * client and local are of one family.
 */
static size_t
pp_write_v1(char *out, const union sockaddr_inet *client,
    const union sockaddr_inet *local)
{
	char a[INET6_ADDRSTRLEN], b[INET6_ADDRSTRLEN];
	int family;

	if (!client)
		return (size_t)sprintf(out, "PROXY UNKNOWN\r\n");
	family = client->sa.sa_family;
	inet_ntop(family, ip_of(client), a, sizeof(a));
	inet_ntop(family, ip_of(local), b, sizeof(b));
	return (size_t)sprintf(out, "PROXY TCP%c %s %s %u %u\r\n",
	    family == AF_INET6 ? '6' : '4', a, b, ntohs(client->v4.sin_port),
	    ntohs(local->v4.sin_port));
}

static unsigned char *
put_bytes(unsigned char *at, const void *data, size_t length)
{
	memcpy(at, data, length);
	return at + length;
}

static size_t
pp_write_v2(unsigned char *out, const union sockaddr_inet *client,
    const union sockaddr_inet *local, const char *ns,
    const struct pp_tlvs *tlvs)
{
	unsigned char *at = out + V2_FIXED;
	size_t length = ns ? strlen(ns) : 0;

	memcpy(out, v2_signature, sizeof(v2_signature));
	out[12] = V2_LOCAL;
	out[13] = 0;
	if (client) {
		bool six = client->sa.sa_family == AF_INET6;

		out[12] = V2_PROXY;
		out[13] = six ? V2_TCP6 : V2_TCP4;
		at = put_bytes(at, ip_of(client), six ? 16 : 4);
		at = put_bytes(at, ip_of(local), six ? 16 : 4);
		at = put_bytes(at, &client->v4.sin_port, 2);
		at = put_bytes(at, &local->v4.sin_port, 2);
	}
	if (length && length <= NS_NAME_MAX) {
		*at++ = V2_NETNS;
		*at++ = 0;
		*at++ = (unsigned char)length;
		at = put_bytes(at, ns, length);
	}
	if (client && tlvs)
		at = put_bytes(at, tlvs->data, tlvs->length);
	length = (size_t)(at - out) - V2_FIXED;
	out[14] = (unsigned char)(length >> 8);
	out[15] = (unsigned char)length;
	return V2_FIXED + length;
}

size_t
pp_write(unsigned char *out, unsigned version,
    const union sockaddr_inet *client, const union sockaddr_inet *local,
    const char *ns, const struct pp_tlvs *tlvs)
{
	if (!sockaddr_is_inet(client) ||
	    client->sa.sa_family != local->sa.sa_family)
		client = NULL;
	return version == 1 ? pp_write_v1((char *)out, client, local)
			    : pp_write_v2(out, client, local, ns, tlvs);
}

size_t
pp_write_dgram(unsigned char *out, const union sockaddr_inet *client,
    const union sockaddr_inet *local, const char *ns)
{
	const size_t length = pp_write(out, 2, client, local, ns, NULL);

	if (out[12] == V2_PROXY)
		out[13] ^= V2_STREAM ^ V2_DGRAM;
	return length;
}

static void
set_addr(union sockaddr_inet *to, int family, const void *addr, uint16_t port)
{
	memset(to, 0, sizeof(*to));
	to->sa.sa_family = (sa_family_t)family;
	to->v4.sin_port = port;
	if (family == AF_INET)
		memcpy(&to->v4.sin_addr, addr, 4);
	else
		memcpy(&to->v6.sin6_addr, addr, 16);
}

/* Parses "ADDR ADDR PORT PORT" in place. Returns -1 with EPROTO. */
static int
parse_v1_addrs(union sockaddr_inet addrs[2], int family, char *text)
{
	unsigned char addr[2][16];
	uint32_t port;
	char *field[4];

	for (int i = 0; i < 4; i++)
		field[i] = strsep(&text, " ");
	if (!field[3] || text)
		return fail_errno(EPROTO);
	for (int i = 0; i < 2; i++) {
		if (inet_pton(family, field[i], addr[i]) != 1 ||
		    !parse_uint(field[i + 2], 0, UINT16_MAX, &port))
			return fail_errno(EPROTO);
		set_addr(&addrs[i], family, addr[i], htons((uint16_t)port));
	}
	return 0;
}

static ssize_t
parse_v1(const unsigned char *data, size_t length, union sockaddr_inet addrs[2])
{
	const unsigned char *end = memchr(data, '\r', length);
	char line[V1_MAX + 1];
	size_t n = end ? (size_t)(end - data) : length;
	int bad = 0;

	if (memcmp(data, "PROXY ", length < 6 ? length : 6) != 0 ||
	    n > V1_MAX - 2 || memchr(data, '\0', n) || memchr(data, '\n', n) ||
	    (end && n + 1 < length && end[1] != '\n'))
		return fail_errno(EPROTO);
	if (!end || n + 1 == length)
		return 0;
	memcpy(line, data, n);
	line[n] = '\0';
	if (strncmp(line + 6, "TCP4 ", 5) == 0)
		bad = parse_v1_addrs(addrs, AF_INET, line + 11);
	else if (strncmp(line + 6, "TCP6 ", 5) == 0)
		bad = parse_v1_addrs(addrs, AF_INET6, line + 11);
	else if (strcmp(line + 6, "UNKNOWN") != 0 &&
	    strncmp(line + 6, "UNKNOWN ", 8) != 0)
		bad = fail_errno(EPROTO);
	return bad ? -1 : (ssize_t)n + 2;
}

/* Returns how many bytes the addresses of a family take, or 0 for AF_UNSPEC. */
static size_t
v2_addr_size(unsigned char family)
{
	return family >> 4 == 1 ? 12
	    : family >> 4 == 2  ? 36
	    : family >> 4 == 3  ? 216
				: 0;
}

/* Checks all of the fixed part that is there. Returns -1 with EPROTO. */
static int
check_v2_fixed(const unsigned char *data, size_t length)
{
	bool without_addrs = length > 12 && data[12] == V2_LOCAL;

	if (memcmp(data, v2_signature, length < 12 ? length : 12) != 0 ||
	    (length > 12 && !without_addrs && data[12] != V2_PROXY))
		return fail_errno(EPROTO);
	if (length > 13 && !without_addrs &&
	    ((data[13] >> 4) > 3 || (data[13] & 15) > 2))
		return fail_errno(EPROTO);
	return 0;
}

/* Takes the addresses and ports of V2_TCP4 or V2_TCP6. */
static void
take_v2_addrs(const unsigned char *at, int family, union sockaddr_inet addrs[2])
{
	size_t size = family == AF_INET ? 4 : 16;
	uint16_t port[2];

	memcpy(port, at + 2 * size, 4);
	for (size_t i = 0; i < 2; i++)
		set_addr(&addrs[i], family, at + i * size, port[i]);
}

/* Takes the fields up to one that is longer than the header. */
static void
take_tlvs(struct pp_tlvs *tlvs, const unsigned char *at, size_t left)
{
	size_t length;

	tlvs->length = 0;
	for (; left >= TLV_FIXED; at += length, left -= length) {
		length = TLV_FIXED + (size_t)(at[1] << 8 | at[2]);
		if (length > left)
			return;
		if (*at == V2_CRC32C || *at == V2_NOOP || *at == V2_NETNS)
			continue;
		memcpy(tlvs->data + tlvs->length, at, length);
		tlvs->length += length;
	}
}

static ssize_t
parse_v2(const unsigned char *data, size_t length, struct pp_header *header)
{
	union sockaddr_inet *addrs = header->addrs;
	size_t tail, least;

	if (check_v2_fixed(data, length) == -1)
		return -1;
	if (length < V2_FIXED)
		return 0;
	tail = (size_t)(data[14] << 8 | data[15]);
	least = data[12] == V2_LOCAL ? 0 : v2_addr_size(data[13]);
	if (tail > V2_MAX || tail < least)
		return fail_errno(tail > V2_MAX ? EMSGSIZE : EPROTO);
	if (length < V2_FIXED + tail)
		return 0;
	if (data[12] == V2_PROXY && data[13] == V2_TCP4)
		take_v2_addrs(data + V2_FIXED, AF_INET, addrs);
	else if (data[12] == V2_PROXY && data[13] == V2_TCP6)
		take_v2_addrs(data + V2_FIXED, AF_INET6, addrs);
	if (data[12] == V2_PROXY)
		take_tlvs(header->tlvs, data + V2_FIXED + least, tail - least);
	return (ssize_t)(V2_FIXED + tail);
}

static ssize_t
parse_header(const unsigned char *data, size_t length, void *arg)
{
	struct pp_header *header = arg;

	return data[0] == 'P' ? parse_v1(data, length, header->addrs)
			      : parse_v2(data, length, header);
}

int
pp_read(const struct io *io, union sockaddr_inet *client,
    union sockaddr_inet *local, struct pp_tlvs *tlvs)
{
	unsigned char data[V2_FIXED + V2_MAX];
	struct pp_header header = {{*client, *local}, tlvs};

	if (io_read_message(io, data, sizeof(data), parse_header, &header) ==
	    -1)
		return -1;
	*client = header.addrs[0];
	*local = header.addrs[1];
	return 0;
}
