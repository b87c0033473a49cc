/* Checks listeners that are open, or could not be opened. */

#include <errno.h>
#include <fcntl.h>
#include <net/if.h>
#include <netinet/in.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/types.h>
#include <unistd.h>

#include "config/endpoint.h"
#include "config/map.h"
#include "mapper/mapper.h"
#include "server/listen.h"
#include "server/listen_check.h"
#include "server/unix_listener.h"

bool
listen_absent(const struct map *map, int err)
{
	if (map->listen.kind == EP_UNIX_PATH)
		return err == ENOENT;
	return map->listen.kind != EP_SYSTEMD &&
	    (err == EADDRNOTAVAIL || err == ENODEV || err == ENETDOWN);
}

bool
listen_depends(const struct map *map)
{
	return map->listen.kind == EP_UNIX_PATH || map->listen.zone;
}

/*
 * Compares the interface index of each socket with the present one. A UDP
 * socket that `ss -K` has disconnected has no index.
 */
static bool
zone_changed(const struct listeners *set, const char *zone)
{
	struct ifreq ifr = {0};
	struct sockaddr_in6 in6 = {0};
	socklen_t length;
	void *addr = &in6;

	snprintf(ifr.ifr_name, sizeof(ifr.ifr_name), "%s", zone);
	if (ioctl(set->items->fd, SIOCGIFINDEX, &ifr) == -1)
		return errno == ENODEV;
	for (size_t i = 0; i < set->count; i++) {
		length = sizeof(in6);
		if (getsockname(set->items[i].fd, addr, &length) == 0 &&
		    in6.sin6_scope_id != (uint32_t)ifr.ifr_ifindex)
			return true;
	}
	return false;
}

const char *
listen_changed(const struct listeners *set, const struct map *map)
{
	if (map->listen.kind == EP_UNIX_PATH &&
	    unix_file_changed(&set->file, map->listen.name))
		return "its socket file was removed or replaced";
	if (map->listen.zone && set->count &&
	    zone_changed(set, map->listen.zone))
		return "its interface was removed or replaced";
	return NULL;
}

int
listen_state(int fd)
{
	socklen_t size = sizeof(int);
	int on = 0;

	if (getsockopt(fd, SOL_SOCKET, SO_ACCEPTCONN, &on, &size) == -1)
		return -1;
	return on != 0;
}

/*
 * Returns the flags in a line of /proc/net/if_inet6, or 0 if the line has
 * another address or interface.
 */
static unsigned
line_flags(const char *line, const char *hex, unsigned zone)
{
	unsigned long field[4] = {0}; /* index, prefix, scope, flags */
	char *end;

	if (strncmp(line, hex, 32) != 0)
		return 0;
	line += 32;
	for (int i = 0; i < 4; i++, line = end)
		field[i] = strtoul(line, &end, 16);
	return zone == 0 || zone == field[0] ? (unsigned)field[3] : 0;
}

unsigned
listen_address_flags(const struct sockaddr_in6 *in6)
{
	char text[2048], hex[33], *line, *end;
	unsigned flags = 0;
	size_t used = 0;
	ssize_t n;
	int fd = open("/proc/self/net/if_inet6", O_RDONLY | O_CLOEXEC);

	if (fd == -1)
		return 0;
	for (size_t i = 0; i < 16; i++)
		snprintf(hex + 2 * i, 3, "%02x", in6->sin6_addr.s6_addr[i]);
	while (!flags && used < sizeof(text) &&
	    (n = read(fd, text + used, sizeof(text) - used)) > 0) {
		used += (size_t)n;
		for (line = text;
		     !flags && (end = memchr(line, '\n', used)) != NULL;
		     line = end + 1) {
			*end = '\0';
			flags = line_flags(line, hex, in6->sin6_scope_id);
			used -= (size_t)(end + 1 - line);
		}
		memmove(text, line, used);
	}
	close(fd);
	return flags;
}
