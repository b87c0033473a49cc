/* Reads the addresses that clients of a proxy write. */

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/types.h>

#include "base/io.h"
#include "base/report.h"
#include "config/endpoint.h"
#include "proxy/socks.h"

ssize_t
socks_addr_length(const unsigned char *data, size_t length)
{
	if (length == 0)
		return 0;
	if (data[0] == SOCKS_ATYP_V4 || data[0] == SOCKS_ATYP_V6)
		return data[0] == SOCKS_ATYP_V4 ? 1 + 4 + 2 : 1 + 16 + 2;
	if (data[0] != SOCKS_ATYP_DOMAIN)
		return fail_errno(EAFNOSUPPORT);
	return length > 1 ? 2 + data[1] + 2 : 0;
}

int
socks_addr_format(char *text, const unsigned char *addr)
{
	char host[SOCKS_STRING_MAX + 1];
	size_t length = addr[0] == SOCKS_ATYP_V4 ? 4 : 16;
	const unsigned char *port = addr + 1 + length;

	if (addr[0] == SOCKS_ATYP_DOMAIN) {
		length = addr[1];
		port = addr + 2 + length;
		memcpy(host, addr + 2, length);
		host[length] = '\0';
		if (strlen(host) != length)
			return fail_errno(EINVAL);
	} else {
		inet_ntop(length == 4 ? AF_INET : AF_INET6, addr + 1, host,
		    sizeof(host));
	}
	snprintf(text, HOSTPORT_MAX,
	    strchr(host, ':') && *host != '[' ? "[%s]:%u" : "%s:%u", host,
	    (unsigned)(port[0] << 8 | port[1]));
	return 0;
}

/* Replaces "[::ffff:10.0.0.1]:80" by "10.0.0.1:80" in place. */
static void
unmap_text(char *text)
{
	char *end = strstr(text, "]:");
	struct in6_addr addr;
	char v4[INET_ADDRSTRLEN];
	size_t length;

	if (*text != '[' || !end)
		return;
	*end = '\0';
	if (inet_pton(AF_INET6, text + 1, &addr) == 1 &&
	    IN6_IS_ADDR_V4MAPPED(&addr)) {
		inet_ntop(AF_INET, &addr.s6_addr[12], v4, sizeof(v4));
		length = strlen(v4);
		memmove(text + length, end + 1, strlen(end + 1) + 1);
		memcpy(text, v4, length);
	} else {
		*end = ']';
	}
}

int
endpoint_parse_untrusted(struct endpoint *ep, const char *text)
{
	static const char allowed_chars[] =
	    "abcdefghijklmnopqrstuvwxyz0123456789"
	    "ABCDEFGHIJKLMNOPQRSTUVWXYZ-._:[]";
	char copy[HOSTPORT_MAX];
	const char *bad_part;

	endpoint_free(ep);
	*ep = (struct endpoint){0};
	if (strlen(text) >= sizeof(copy) || text[strspn(text, allowed_chars)])
		return fail_errno(EINVAL);
	memcpy(copy, text, strlen(text) + 1);
	unmap_text(copy);
	if (endpoint_parse(ep, copy, 1, &bad_part) ||
	    (ep->kind != EP_IPV4 && ep->kind != EP_IPV6 && ep->kind != EP_HOST))
		return fail_errno(EINVAL);
	return 0;
}
