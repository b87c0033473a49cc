/* Says what an errno of connecting or listening means, and what to do. */

#include <errno.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include "base/advice.h"

#include "base/array.h"

/* clang-format off */
enum {
	INET = ADVICE_DIAL_INET | ADVICE_DIAL_LOOPBACK,
	UNIX = ADVICE_DIAL_UNIX,
	HOP = ADVICE_DIAL_HOP,
	DIAL = INET | UNIX | HOP,
	LISTEN = ADVICE_LISTEN_INET | ADVICE_LISTEN_UNIX
};

/*
 * errno_advice() takes the first row that has the errno and the case. In a
 * text, %a is the address, %n the namespace, and %i the command ip(8) for the
 * namespace.
 */
static const struct advice {
	int err;
	unsigned tried; /* set of enum advice_case */
	const char *text;
} advices[] = {
	{ECONNREFUSED, INET, "nothing listens on %a in %n"},
	{ECONNREFUSED, UNIX, "no program listens on the socket file %a"},
	{ECONNREFUSED, HOP, "the proxy says that nothing listens there"},
	{ENOENT, UNIX, "no such socket file: is its program running?"},
	{EACCES, UNIX, "the user of --user may not open %a: see its permissions"},
	{EACCES, HOP, "the proxy does not allow it: via-auth= names a user"},
	{EACCES, INET, "reach= or a firewall forbids it"},
	{EPERM, INET, "a firewall in %n forbids it (nft list ruleset)"},
	{EPERM, HOP, "the proxy does not take the user: via-auth="},
	{ENETUNREACH, ADVICE_DIAL_LOOPBACK, "lo is down: %i link set lo up"},
	{ENETUNREACH, INET, "no route to %a in %n: %i route"},
	{EHOSTUNREACH, INET, "no host answers at %a, or a router says so: %i neigh"},
	{EHOSTUNREACH, HOP, "the proxy does not reach the target"},
	{ETIMEDOUT, ADVICE_DIAL_LOOPBACK,
		"no answer from %a: is lo down (%i link set lo up), or its queue full?"},
	{ETIMEDOUT, INET, "no answer from %a: it is down, or a firewall drops"},
	{ETIMEDOUT, UNIX, "the program behind %a does not accept"},
	{ETIMEDOUT, HOP, "the proxy does not answer in time"},
	{EADDRNOTAVAIL, INET, "src= is not there, or no port is free: %i addr"},
	{ENODEV, INET, "no such interface in %n: %i link"},
	{EAFNOSUPPORT, INET, "no address of that family in %n"},
	{EPROTOTYPE, UNIX, "%a is not a stream socket"},
	{EPROTO, DIAL, "the answer is not one of such a proxy"},
	{ECONNRESET, DIAL, "closed by the other end before it answered"},
	{EMFILE, DIAL | LISTEN, "too many open files (ulimit -n)"},
	{ENFILE, DIAL | LISTEN, "too many open files (sysctl fs.file-max)"},
	{ENOMEM, DIAL | LISTEN, "out of memory"},
	{ENOBUFS, DIAL | LISTEN, "out of memory for sockets"},
	{EADDRINUSE, ADVICE_LISTEN_INET,
		"the port is taken (ss -ltunp there shows by whom)"},
	{EACCES, ADVICE_LISTEN_INET,
		"a low port needs CAP_NET_BIND_SERVICE, or there: sysctl "
		"net.ipv4.ip_unprivileged_port_start"},
	{EADDRNOTAVAIL, ADVICE_LISTEN_INET,
		"no such address there (ip addr shows them)"},
	{ENODEV, ADVICE_LISTEN_INET,
		"no such interface there (ip link shows them)"},
	{ENETDOWN, ADVICE_LISTEN_INET, "lo is down (%i link set lo up)"},
	{ENOENT, ADVICE_LISTEN_INET,
		"no socket of that name and kind was handed to us"},
	{EADDRINUSE, ADVICE_LISTEN_UNIX, "somebody listens there"},
	{ENOTSOCK, ADVICE_LISTEN_UNIX, "that file is no socket: remove it, or name another path"},
	{EPERM, ADVICE_LISTEN_UNIX, "no permission to give it to its owner="},
	{EACCES, ADVICE_LISTEN_UNIX, "no permission to make a file there"},
	{ENOENT, ADVICE_LISTEN_UNIX, "no such directory"},
	{ENOTDIR, ADVICE_LISTEN_UNIX, "a part of the path is no directory"},
	{EROFS, ADVICE_LISTEN_UNIX, "its file system is read-only"},
};
/* clang-format on */

const char *
ip_command(char *buf, const char *ns)
{
	const char *before = "ip -n ", *behind = "";

	if (strcmp(ns, "init") == 0)
		ns = "pid:1";
	if (strncmp(ns, "pid:", 4) == 0) {
		before = "nsenter -t ";
		ns += 4;
		behind = " -n ip";
	} else if (strchr(ns, '/')) {
		before = "nsenter --net=";
		behind = " ip";
	} else if (strcmp(ns, "self") == 0 || strchr(ns, ':'))
		before = "", ns = "", behind = "ip";
	snprintf(buf, ADVICE_SIZE, "%s%s%s", before, ns, behind);
	return buf;
}

/* Appends what %a, %n or %i of a text stands for. Returns the new length. */
static size_t
append_word(char *buf, size_t used, char letter, const struct advice_place *p)
{
	char ip[ADVICE_SIZE];
	size_t room = ADVICE_SIZE - used;
	int n = 0;

	if (letter == 'a')
		n = snprintf(buf + used, room, "%s", p->addr);
	else if (letter == 'i')
		n = snprintf(buf + used, room, "%s", ip_command(ip, p->ns));
	else if (strcmp(p->ns, "self") == 0)
		n = snprintf(buf + used, room, "this namespace");
	else
		n = snprintf(buf + used, room, "%s", p->ns);
	return (size_t)n < room ? used + (size_t)n : ADVICE_SIZE - 1;
}

const char *
errno_advice(char *buf, int err, const struct advice_place *p)
{
	const struct advice *row = advices, *end = row + ARRAY_LEN(advices);
	size_t used = 0;

	while (row < end && (row->err != err || !(row->tried & p->tried)))
		row++;
	if (row == end)
		return NULL;
	for (const char *s = row->text; *s && used < ADVICE_SIZE - 1; s++)
		if (*s == '%')
			used = append_word(buf, used, *++s, p);
		else
			buf[used++] = *s;
	buf[used] = '\0';
	return buf;
}
