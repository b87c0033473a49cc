/* Takes over the sockets of systemd(1), and notifies it. */

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/log.h"
#include "base/text.h"
#include "mapper/mapper.h"
#include "server/systemd.h"

#define LISTEN_FDS_FIRST 3
#define LISTEN_FDS_MAX   1024

static int notify_fd = -1;

int
systemd_fd_count(void)
{
	const char *fds = getenv("LISTEN_FDS");
	uint32_t n = 0;

	return fds && parse_uint(fds, 0, LISTEN_FDS_MAX, &n) ? (int)n : 0;
}

static bool
has_kind(int fd, bool udp, sa_family_t *family)
{
	struct sockaddr_storage addr = {0};
	socklen_t length = sizeof(addr), size = sizeof(int);
	void *p = &addr;
	int type = 0;

	if (getsockname(fd, p, &length) == -1 ||
	    getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &size) == -1)
		return false;
	*family = addr.ss_family;
	return udp ? type == SOCK_DGRAM && addr.ss_family != AF_UNIX
		   : type == SOCK_STREAM;
}

int
systemd_adopt_fds(const char *name, bool udp, struct listener *listeners,
    size_t *n)
{
	const char *names = getenv("LISTEN_FDNAMES");
	int end = LISTEN_FDS_FIRST + systemd_fd_count();
	size_t length = strlen(name);

	*n = 0;
	for (int fd = LISTEN_FDS_FIRST; names && fd < end; fd++) {
		struct listener *l = &listeners[*n];

		if (strcspn(names, ":") == length &&
		    memcmp(names, name, length) == 0 &&
		    has_kind(fd, udp, &l->family)) {
			l->fd = fcntl(fd, F_DUPFD_CLOEXEC, LISTEN_FDS_FIRST);
			if (l->fd == -1)
				return -1;
			fcntl(l->fd, F_SETFL, O_NONBLOCK);
			++*n;
		}
		names = strchr(names, ':');
		names += names ? 1 : 0;
	}
	errno = ENOENT;
	return *n ? 0 : -1;
}

static int
open_notify(void)
{
	struct sockaddr_un un = {.sun_family = AF_UNIX};
	const void *addr = &un;
	const char *path = getenv("NOTIFY_SOCKET");
	size_t length = path ? strlen(path) : 0;

	if (length < 2 || length >= sizeof(un.sun_path))
		return -1;
	memcpy(un.sun_path, path, length);
	if (*path == '@') /* an abstract name */
		un.sun_path[0] = '\0';
	notify_fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	return connect(notify_fd, addr,
	    (socklen_t)(offsetof(struct sockaddr_un, sun_path) + length));
}

void
sd_notify_send(const char *fmt, ...)
{
	char text[512];
	va_list ap;
	int length;

	if (notify_fd == -1 && open_notify() == -1)
		return;
	va_start(ap, fmt);
	length = vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	if (send(notify_fd, text, (size_t)length,
		MSG_NOSIGNAL | MSG_DONTWAIT) == -1)
		log_debug("$NOTIFY_SOCKET: %s", strerror(errno));
}
