/* Joins the results of both families, and describes them. */

#include <arpa/inet.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "dns/conf.h"
#include "dns/result.h"

void
dns_list_add(struct dns_list *list, const unsigned char *addr, size_t length)
{
	for (unsigned i = 0; i < list->count; i++)
		if (memcmp(list->addr[i], addr, length) == 0)
			return;
	if (list->count < DNS_ADDRS_MAX)
		memcpy(list->addr[list->count++], addr, length);
}

/*
 * Returns the list that decides the status of both. "No such name" is true for
 * both families, unless the other one has found the name. An error counts more
 * than "no address", because that family might have had addresses.
 */
static const struct dns_list *
deciding(const struct dns_list *four, const struct dns_list *six)
{
	if (six->status == DNS_OK && four->status != DNS_OK)
		return six;
	if (four->status == DNS_OK || four->status == DNS_PENDING)
		return four;
	if (four->status == DNS_NO_NAME)
		return six->status == DNS_NO_ADDRESS ? six : four;
	if (six->status == DNS_NO_NAME)
		return four->status == DNS_NO_ADDRESS ? four : six;
	return four->status == DNS_NO_ADDRESS ? six : four;
}

void
dns_result_settle(struct dns_result *r)
{
	const struct dns_list *four = &r->list[DNS_FOUR],
			      *six = &r->list[DNS_SIX];
	const struct dns_list *list = deciding(four, six);

	r->status = list->status;
	r->error = list->error;
	r->ttl = list->ttl;
	if (four->status == DNS_OK && six->status == DNS_OK &&
	    six->ttl < r->ttl)
		r->ttl = six->ttl;
}

size_t
dns_result_addrs(const struct dns_result *r, struct dns_addr *out, size_t max)
{
	size_t n = 0;

	for (unsigned i = 0; i < DNS_FAMILIES * DNS_ADDRS_MAX; i++) {
		bool six = r->six_first == (i % 2 == 0);
		const struct dns_list *list =
		    &r->list[six ? DNS_SIX : DNS_FOUR];

		if (i / 2 >= list->count || n == max)
			continue;
		out[n].family = six ? AF_INET6 : AF_INET;
		memcpy(out[n++].addr, list->addr[i / 2], 16);
	}
	return n;
}

bool
dns_server_is_loopback(const struct dns_server *s)
{
	if (s->addr.any.sa_family == AF_INET6)
		return IN6_IS_ADDR_LOOPBACK(&s->addr.six.sin6_addr);
	return ntohl(s->addr.four.sin_addr.s_addr) >> 24 == 127;
}

const struct dns_server *
dns_result_server(const struct dns_result *r)
{
	const struct dns_list *list =
	    deciding(&r->list[DNS_FOUR], &r->list[DNS_SIX]);

	return list->server.addr.any.sa_family ? &list->server : NULL;
}

const char *
dns_server_text(const struct dns_server *s, char *buf)
{
	bool six = s->addr.any.sa_family == AF_INET6;
	unsigned port =
	    ntohs(six ? s->addr.six.sin6_port : s->addr.four.sin_port);
	const void *addr =
	    six ? (const void *)&s->addr.six.sin6_addr : &s->addr.four.sin_addr;
	size_t n;

	inet_ntop(six ? AF_INET6 : AF_INET, addr, buf, INET6_ADDRSTRLEN);
	n = strlen(buf);
	if (s->zone[0])
		n += (size_t)snprintf(buf + n, DNS_SERVER_TEXT - n, "%%%s",
		    s->zone);
	else if (six && s->addr.six.sin6_scope_id)
		n += (size_t)snprintf(buf + n, DNS_SERVER_TEXT - n, "%%%u",
		    (unsigned)s->addr.six.sin6_scope_id);
	if (port != DNS_PORT)
		snprintf(buf + n, DNS_SERVER_TEXT - n, six ? "/%u" : ":%u",
		    port);
	return buf;
}

static const char *
rcode_word(int rcode)
{
	switch (rcode) {
	case DNS_RCODE_OK:
		return "an answer that is malformed";
	case DNS_RCODE_FORMERR:
		return "FORMERR";
	case DNS_RCODE_FAILED:
		return "SERVFAIL";
	case DNS_RCODE_NOTIMP:
		return "NOTIMP";
	case DNS_RCODE_LAME:
		return "it does not ask other servers";
	default:
		return "an error";
	}
}

static const char *
reach_word(int error)
{
	switch (error) {
	case ECONNREFUSED:
		return "nothing listens there";
	case ENETUNREACH:
	case EHOSTUNREACH:
	case EADDRNOTAVAIL:
		return "no route to it";
	case EAFNOSUPPORT:
		return "no IPv6 here";
	case ENODEV:
		return "no such interface";
	default:
		return "within its time";
	}
}

static const char *
file_word(int error)
{
	switch (error) {
	case EACCES:
	case EPERM:
		return "the user that nsfwd runs as may not read it";
	case ENOENT:
		return "a symbolic link that leads nowhere";
	case ELOOP:
		return "a symbolic link that is not followed";
	case EFBIG:
		return "longer than 64 KiB";
	case EINVAL:
		return "not a regular file";
	default:
		return "an error of the file system";
	}
}

static const char *
plain_word(enum dns_status status)
{
	switch (status) {
	case DNS_PENDING:
		return "not known yet";
	case DNS_OK:
		return "found";
	case DNS_BAD_NAME:
		return "not a host name";
	case DNS_NOT_ASCII:
		return "not ASCII: write the name in its xn-- form";
	case DNS_ALIASES:
		return "an alias (CNAME) that leads nowhere";
	default:
		return "out of descriptors or memory";
	}
}

const char *
dns_result_text(const struct dns_result *r, const char *path, char *buf,
    size_t size)
{
	const struct dns_server *s = dns_result_server(r);
	char server[DNS_SERVER_TEXT] = "the name server";

	if (s)
		dns_server_text(s, server);
	if (r->status == DNS_NO_NAME)
		snprintf(buf, size, "no such name, says %s", server);
	else if (r->status == DNS_NO_ADDRESS)
		snprintf(buf, size, "the name has no address, says %s", server);
	else if (r->status == DNS_FAILED)
		snprintf(buf, size, "name server %s failed: %s", server,
		    rcode_word(r->error));
	else if (r->status == DNS_REFUSED)
		snprintf(buf, size, "name server %s refuses to answer", server);
	else if (r->status == DNS_NO_ANSWER)
		snprintf(buf, size, "no answer from name server %s: %s", server,
		    reach_word(r->error));
	else if (r->status == DNS_BAD_FILE)
		snprintf(buf, size, "%s: %s", path, file_word(r->error));
	else
		snprintf(buf, size, "%s", plain_word(r->status));
	return buf;
}
