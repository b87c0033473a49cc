/* Finds errors that would keep names from being resolved. */

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "dns/check.h"

/*
 * Looks for a route to a server, and for an open port on a loopback address.
 * Returns 0 or an errno. connect(2) fails if there is no route. On the loopback
 * interface, the ICMP error of a closed port has come when send(2) returns. The
 * datagram is the header of an answer (QR), so that a server ignores it.
 */
static int
probe(const struct dns_source *source, const struct dns_server *s)
{
	static const unsigned char answer[12] = {[2] = 0x80};
	bool six = s->addr.any.sa_family == AF_INET6;
	int fd, result = 0, error = 0;
	char byte;

	if (s->zone[0])
		return 0;
	fd = socket(s->addr.any.sa_family,
	    SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (fd == -1)
		return errno;
	if (source->prepare && !dns_server_is_loopback(s))
		result = source->prepare(fd, s->addr.any.sa_family,
		    source->prepare_arg);
	if (result == 0)
		result = connect(fd, &s->addr.any,
		    six ? sizeof(s->addr.six) : sizeof(s->addr.four));
	if (result == 0 && dns_server_is_loopback(s)) {
		result = (int)send(fd, answer, sizeof(answer), MSG_NOSIGNAL);
		if (result != -1)
			result = (int)recv(fd, &byte, 1, 0);
	}
	if (result == -1 && errno != EAGAIN)
		error = errno;
	close(fd);
	return error;
}

/* Describes a failure with the text of a failed look-up. */
static const char *
describe(const struct dns_source *source, struct dns_result *r, char *buf,
    size_t size)
{
	char path[DNS_PATH_SIZE];

	r->list[DNS_FOUR].status = r->list[DNS_SIX].status = r->status;
	dns_files_path(&source->files, r->file, path);
	return dns_result_text(r, path, buf, size);
}

static const char *
check_servers(const struct dns_source *source, const struct dns_servers *all,
    char *buf, size_t size)
{
	struct dns_result r = {.status = DNS_NO_ANSWER};

	for (unsigned i = 0; i < all->count; i++) {
		r.error = probe(source, &all->server[i]);
		r.list[DNS_FOUR].server = all->server[i];
		if (r.error)
			return describe(source, &r, buf, size);
	}
	return NULL;
}

const char *
dns_check(const struct dns_source *source, char *buf, size_t size)
{
	struct dns_result r = {.status = DNS_BAD_FILE};
	char path[DNS_PATH_SIZE];
	struct dns_conf conf;

	if (dns_files_hosts(&source->files, "localhost", &r, &r.file) == -1) {
		r.error = errno;
		return describe(source, &r, buf, size);
	}
	if (source->servers.count)
		return check_servers(source, &source->servers, buf, size);
	if (dns_files_conf(&source->files, &conf, &r.file) == -1) {
		r.error = errno;
		return describe(source, &r, buf, size);
	}
	if (conf.bad_servers) {
		dns_files_path(&source->files, r.file, path);
		snprintf(buf, size, "%s: a nameserver line has no address",
		    path);
		return buf;
	}
	return check_servers(source, &conf.servers, buf, size);
}
