/* The PROXY protocol: who the client is, said to a target or heard of a proxy. */

#include <arpa/inet.h>
#include <errno.h>
#include <limits.h>
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

#define V1_MAX   107 /* with CRLF */
#define V2_FIXED 16
#define V2_MAX   4096 /* behind that */
#define V2_NETNS 0x30 /* PP2_TYPE_NETNS */
#define NAME_MAX 255

static const unsigned char v2_signature[12] = "\r\n\r\n\0\r\nQUIT\n";

static size_t
pp_write_v1(char *out, const union sockaddr_inet *from,
    const union sockaddr_inet *to)
{
	bool six = from->sa.sa_family == AF_INET6;
	int family = from->sa.sa_family;
	char a[INET6_ADDRSTRLEN], b[INET6_ADDRSTRLEN];
	const void *p = &from->v4.sin_addr, *q = &to->v4.sin_addr;

	if (!six && family != AF_INET)
		return (size_t)sprintf(out, "PROXY UNKNOWN\r\n");
	if (six) {
		p = &from->v6.sin6_addr;
		q = &to->v6.sin6_addr;
	}
	inet_ntop(family, p, a, sizeof(a));
	inet_ntop(family, q, b, sizeof(b));
	return (size_t)sprintf(out, "PROXY TCP%c %s %s %u %u\r\n",
	    six ? '6' : '4', a, b, ntohs(from->v4.sin_port),
	    ntohs(to->v4.sin_port));
}

static unsigned char *
put(unsigned char *at, const void *data, size_t length)
{
	memcpy(at, data, length);
	return at + length;
}

size_t
pp_write(unsigned char *out, unsigned version, const union sockaddr_inet *from,
    const union sockaddr_inet *to, const char *ns)
{
	bool six = from->sa.sa_family == AF_INET6;
	bool known = (six || from->sa.sa_family == AF_INET) &&
	    from->sa.sa_family == to->sa.sa_family;
	unsigned char *at = out + V2_FIXED;
	size_t length = ns ? strlen(ns) : 0;

	if (version == 1)
		return pp_write_v1((char *)out,
		    known ? from : &(union sockaddr_inet){0}, to);
	memcpy(out, v2_signature, sizeof(v2_signature));
	out[12] = known ? 0x21 : 0x20;
	out[13] = !known ? 0 : six ? 0x21 : 0x11;
	if (known && six) {
		at = put(at, &from->v6.sin6_addr, 16);
		at = put(at, &to->v6.sin6_addr, 16);
	} else if (known) {
		at = put(at, &from->v4.sin_addr, 4);
		at = put(at, &to->v4.sin_addr, 4);
	}
	if (known) {
		at = put(at, &from->v4.sin_port, 2);
		at = put(at, &to->v4.sin_port, 2);
	}
	if (length && length <= NAME_MAX) {
		*at++ = V2_NETNS;
		*at++ = 0;
		*at++ = (unsigned char)length;
		at = put(at, ns, length);
	}
	length = (size_t)(at - out) - V2_FIXED;
	out[14] = (unsigned char)(length >> 8);
	out[15] = (unsigned char)length;
	return V2_FIXED + length;
}

static void
set_addr(union sockaddr_inet *peer, int family, const void *addr, uint16_t port)
{
	memset(peer, 0, sizeof(*peer));
	peer->sa.sa_family = (sa_family_t)family;
	peer->v4.sin_port = port;
	if (family == AF_INET)
		memcpy(&peer->v4.sin_addr, addr, 4);
	else
		memcpy(&peer->v6.sin6_addr, addr, 16);
}

/* "ADDR ADDR PORT PORT", one space between them. */
static int
parse_v1_addrs(union sockaddr_inet peer[2], int family, char *text)
{
	unsigned char addr[2][16];
	uint32_t port;
	char *word[4];

	for (int i = 0; i < 4; i++)
		word[i] = strsep(&text, " ");
	if (!word[3] || text)
		return fail_errno(EPROTO);
	for (int i = 0; i < 2; i++) {
		if (inet_pton(family, word[i], addr[i]) != 1 ||
		    !parse_uint(word[i + 2], 0, UINT16_MAX, &port))
			return fail_errno(EPROTO);
		set_addr(&peer[i], family, addr[i], htons((uint16_t)port));
	}
	return 0;
}

static ssize_t
parse_v1(const unsigned char *data, size_t length, union sockaddr_inet peer[2])
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
		bad = parse_v1_addrs(peer, AF_INET, line + 11);
	else if (strncmp(line + 6, "TCP6 ", 5) == 0)
		bad = parse_v1_addrs(peer, AF_INET6, line + 11);
	else if (strcmp(line + 6, "UNKNOWN") != 0 &&
	    strncmp(line + 6, "UNKNOWN ", 8) != 0)
		bad = fail_errno(EPROTO);
	return bad ? -1 : (ssize_t)n + 2;
}

/* The least that a family's addresses take; 0 where these are none. */
static size_t
v2_addr_size(unsigned char family)
{
	return family >> 4 == 1 ? 12
	    : family >> 4 == 2  ? 36
	    : family >> 4 == 3  ? 216
				: 0;
}

static ssize_t
parse_v2(const unsigned char *data, size_t length, union sockaddr_inet peer[2])
{
	size_t tail, least;
	uint16_t port[2];
	bool local = length > 12 && data[12] == 0x20;

	if (memcmp(data, v2_signature, length < 12 ? length : 12) != 0 ||
	    (length > 12 && !local && data[12] != 0x21))
		return fail_errno(EPROTO);
	if (length > 13 && !local &&
	    ((data[13] >> 4) > 3 || (data[13] & 15) > 2))
		return fail_errno(EPROTO);
	if (length < V2_FIXED)
		return 0;
	tail = (size_t)(data[14] << 8 | data[15]);
	least = local ? 0 : v2_addr_size(data[13]);
	if (tail > V2_MAX || tail < least)
		return fail_errno(tail > V2_MAX ? EMSGSIZE : EPROTO);
	if (length < V2_FIXED + tail)
		return 0;
	if (!local && (data[13] == 0x11 || data[13] == 0x21)) {
		int family = data[13] == 0x11 ? AF_INET : AF_INET6;
		size_t size = (least - 4) / 2;

		memcpy(port, data + V2_FIXED + 2 * size, 4);
		for (size_t i = 0; i < 2; i++)
			set_addr(&peer[i], family, data + V2_FIXED + i * size,
			    port[i]);
	}
	return (ssize_t)(V2_FIXED + tail);
}

/* peer[0] is the client, peer[1] what it connected to. */
static ssize_t
parse_header(const unsigned char *data, size_t length, void *arg)
{
	return data[0] == 'P' ? parse_v1(data, length, arg)
			      : parse_v2(data, length, arg);
}

int
pp_read(const struct io *io, union sockaddr_inet *from, union sockaddr_inet *to)
{
	unsigned char data[V2_FIXED + V2_MAX];
	union sockaddr_inet peer[2] = {*from, *to};

	if (io_read_message(io, data, sizeof(data), parse_header, peer) == -1)
		return -1;
	*from = peer[0];
	*to = peer[1];
	return 0;
}
