/* Finds the addresses of targets and hops in the current namespace. */

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/errname.h"
#include "base/fd.h"
#include "base/io.h"
#include "base/landlock.h"
#include "base/log.h"
#include "base/memory.h"
#include "base/report.h"
#include "config/endpoint.h"
#include "config/map.h"
#include "dial/attempt.h"
#include "dial/resolve.h"
#include "dns/check.h"
#include "dns/files.h"
#include "dns/query.h"
#include "netns.h"

#define READABLE_DIRS 24

#define FIRST_FD 16 /* connections move their sockets to lower numbers */

/* A process has one map, and waits for one name at a time. */
static struct dns_source source;
static struct dns_query query;

/* Keeps the mounts below source.files.root after its process has ended. */
static int mounts = -1;

static int
prepare_socket(int fd, int family, const void *map)
{
	return set_source_options(fd, map, family);
}

/* Moves a descriptor to FIRST_FD or above. Returns -1 with errno. */
static int
move_up(int *fd)
{
	int to = *fd == -1 ? -1 : fcntl(*fd, F_DUPFD_CLOEXEC, FIRST_FD);

	if (*fd == -1)
		return 0;
	close_keep_errno(*fd);
	*fd = to;
	return to == -1 ? -1 : 0;
}

int
resolver_open(const struct map *map, const int root[2])
{
	const struct ns *ns = &map->target_ns;
	const char *name = ns->kind == NS_NAME ? ns->spec : NULL;

	if (!map_has_names(map)) {
		for (int i = 0; i < 2; i++)
			if (root[i] != -1)
				close(root[i]);
		return 0;
	}
	mounts = root[1];
	source.servers = map->dns;
	/* Shared by all processes of the map. Without them nothing fails. */
	source.silent = memory_map(NULL, DNS_SERVERS_MAX,
	    sizeof(*source.silent), MAP_SHARED);
	source.prepare = prepare_socket;
	source.prepare_arg = map;
	if (dns_files_open(&source.files, name, root[0], ns_pid(ns)) == -1)
		return -1;
	return move_up(&source.files.etc) == -1 ||
		move_up(&source.files.root) == -1 || move_up(&mounts) == -1
	    ? -1
	    : 0;
}

/* Writes to no memory without names, because a connection would copy it. */
void
resolver_close(void)
{
	if (source.prepare)
		dns_files_close(&source.files);
	if (mounts == -1)
		return;
	close(mounts);
	mounts = -1;
}

/* Returns true if a server is asked for one of the names of a map. */
static bool
needs_servers(const struct map *map)
{
	const struct endpoint *first =
	    map->n_hops ? &map->hops->ep : map->targets;
	const size_t n = map->n_hops ? 1 : map->n_targets;

	for (const struct endpoint *ep = first; ep < first + n; ep++)
		if (ep->kind == EP_PROXY ||
		    (ep->kind == EP_HOST &&
			!dns_name_is_local(&source, ep->name)))
			return true;
	return false;
}

void
resolver_check(void)
{
	char text[DNS_TEXT_MAX];
	const struct map *map = source.prepare_arg;
	const char *why;

	if (!map || !needs_servers(map))
		return;
	why = dns_check(&source, text, sizeof(text));
	if (why)
		log_info("'%s': names may not resolve in %s: %s", map->spec,
		    map->target_ns.kind == NS_SELF ? "this namespace"
						   : ns_spec(&map->target_ns),
		    why);
}

const struct dns_source *
resolver_source(void)
{
	return source.prepare ? &source : NULL;
}

size_t
resolver_fds(int fds[RESOLVER_FDS])
{
	size_t n = 0;

	if (source.prepare && source.files.etc != -1)
		fds[n++] = source.files.etc;
	if (source.prepare && source.files.root != -1)
		fds[n++] = source.files.root;
	if (mounts != -1)
		fds[n++] = mounts;
	return n;
}

void
resolver_limit_files(unsigned role)
{
	int dirs[READABLE_DIRS] = {0};
	size_t n = source.prepare
	    ? dns_files_dirs(&source.files, dirs, READABLE_DIRS)
	    : 0;

	landlock_limit_files(role, dirs, n);
	while (n--)
		close(dirs[n]);
}

size_t
literal_count(const struct endpoint *ep)
{
	return ep->kind == EP_LOOPBACK ? 2 : 1;
}

int
literal_addr(struct target_addr *to, const struct endpoint *ep, unsigned index,
    size_t i)
{
	to->length = endpoint_sockaddr(&to->addr, ep, index,
	    i == 0 ? AF_INET : AF_INET6);
	return to->length ? 0 : -1;
}

/* Returns the errno or enum name_error of a failed look-up. */
static int
name_error(const struct dns_result *r)
{
	static const int errors[] = {
	    [DNS_NO_NAME] = NAME_UNKNOWN,
	    [DNS_NO_ADDRESS] = NAME_NO_ADDRESS,
	    [DNS_FAILED] = NAME_FAILED,
	    [DNS_REFUSED] = NAME_REFUSED,
	    [DNS_NO_ANSWER] = NAME_NO_ANSWER,
	    [DNS_BAD_FILE] = NAME_BAD_FILE,
	    [DNS_BAD_NAME] = NAME_INVALID,
	    [DNS_NOT_ASCII] = NAME_NOT_ASCII,
	    [DNS_ALIASES] = NAME_ALIASES,
	};

	return r->status == DNS_LOCAL ? r->error : errors[r->status];
}

void
resolve_sockaddr(struct target_addr *to, const struct dns_addr *from,
    uint16_t port)
{
	struct sockaddr_in *four = (void *)&to->addr;
	struct sockaddr_in6 *six = (void *)&to->addr;

	memset(to, 0, sizeof(*to));
	to->addr.ss_family = (sa_family_t)from->family;
	if (from->family == AF_INET6) {
		six->sin6_port = htons(port);
		memcpy(&six->sin6_addr, from->addr, 16);
		to->length = sizeof(*six);
	} else {
		four->sin_port = htons(port);
		memcpy(&four->sin_addr, from->addr, 4);
		to->length = sizeof(*four);
	}
}

size_t
resolve_addrs(struct dns_addr *out, const struct dns_result *r)
{
	size_t n = dns_result_addrs(r, out, RESOLVE_MAX);

	if (!n)
		errno = name_error(r);
	return n;
}

size_t
resolve_result(struct target_addr *out, size_t max, const struct dns_result *r,
    uint16_t port)
{
	struct dns_addr addrs[RESOLVE_MAX];
	size_t n = resolve_addrs(addrs, r);

	n = n < max ? n : max;
	for (size_t i = 0; i < n; i++)
		resolve_sockaddr(&out[i], &addrs[i], port);
	return n;
}

void
resolve_report(struct conn_report *report, const struct dns_result *r)
{
	const struct dns_server *s = dns_result_server(r);

	memset(&report->server, 0, sizeof(report->server));
	if (s && r->status != DNS_OK)
		memcpy(&report->server, &s->addr,
		    s->addr.any.sa_family == AF_INET6 ? sizeof(s->addr.six)
						      : sizeof(s->addr.four));
}

/* Waits until the query can go on. Returns -1 with errno. */
static int
wait_query(int abort_fd)
{
	struct pollfd fds[DNS_FDS + 1];
	size_t n = dns_query_pollfds(&query, fds);

	fds[n] = (struct pollfd){.fd = abort_fd, .events = POLLERR};
	if (io_wait(fds, n + 1, dns_query_deadline(&query)) == -1)
		return errno == ETIMEDOUT ? 0 : -1;
	return fds[n].revents ? fail_errno(ECONNABORTED) : 0;
}

/* Looks a name up. Returns the result; or NULL with errno. */
static const struct dns_result *
look_up(const char *name, int abort_fd, msec deadline)
{
	enum dns_status status =
	    dns_query_start(&query, &source, name, deadline, -1, 0);
	int result = 0;

	while (status == DNS_PENDING && (result = wait_query(abort_fd)) == 0)
		status = dns_query_run(&query);
	dns_query_stop(&query);
	return result == 0 ? &query.result : NULL;
}

size_t
resolve_host(struct dns_addr *out, const char *name, const struct io *limits,
    struct conn_report *report)
{
	const struct dns_result *r =
	    look_up(name, limits->abort_fd, limits->deadline);

	if (!r)
		return 0;
	resolve_report(report, r);
	return resolve_addrs(out, r);
}

const char *
resolve_text(char *buf, size_t size)
{
	char path[DNS_PATH_SIZE];

	dns_files_path(&source.files, query.result.file, path);
	return dns_result_text(&query.result, path, buf, size);
}
