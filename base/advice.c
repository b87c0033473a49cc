/* Says what an error of connecting or listening means, and what to do. */

#include <errno.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include "base/advice.h"

#include "base/array.h"
#include "base/errname.h"

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
 * text, %a is the address, %n the namespace, %i the command ip(8) for the
 * namespace, %s the name server, and %f the resolv.conf of the namespace.
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
	{NAME_UNKNOWN, DIAL, "%s knows no such name: dns= or %f chooses another"},
	{NAME_NO_ADDRESS, DIAL, "%s knows the name, but no address of it"},
	{NAME_FAILED, DIAL, "%s failed: dns= or %f chooses another"},
	{NAME_REFUSED, DIAL, "%s refuses to answer: dns= or %f chooses another"},
	{NAME_NO_ANSWER, DIAL, "%s did not answer in %n: see dns= or %f"},
	{NAME_BAD_FILE, DIAL, "%f or its hosts cannot be read: see its permissions"},
	{NAME_INVALID, DIAL, "no DNS name looks like this"},
	{NAME_NOT_ASCII, DIAL, "write the name in its xn-- form"},
	{NAME_ALIASES, DIAL, "an alias (CNAME) of the name leads nowhere"},
	{EMFILE, DIAL | LISTEN, "too many open files (ulimit -n)"},
	{ENFILE, DIAL | LISTEN, "too many open files (sysctl fs.file-max)"},
	{ENOMEM, DIAL | LISTEN, "out of memory"},
	{ENOBUFS, DIAL | LISTEN, "out of memory for sockets"},
	{EADDRINUSE, ADVICE_LISTEN_INET,
		"the port is taken (ss -ltunp there shows by whom)"},
	{EACCES, ADVICE_LISTEN_INET,
		"a low port needs CAP_NET_BIND_SERVICE, or there: sysctl "
		"net.ipv4.ip_unprivileged_port_start=PORT"},
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

/* Writes the path that dns_files_conf() reads first. */
static const char *
resolv_conf(char *buf, const char *ns)
{
	const bool named = !strpbrk(ns, "/:") && strcmp(ns, "self") != 0 &&
	    strcmp(ns, "init") != 0;

	snprintf(buf, ADVICE_SIZE, "/etc/%s%s%sresolv.conf",
	    named ? "netns/" : "", named ? ns : "", named ? "/" : "");
	return buf;
}

/* Returns what a letter behind % of a text stands for. */
static const char *
find_word(char *buf, char letter, const struct advice_place *p)
{
	switch (letter) {
	case 'a':
		return p->addr;
	case 'i':
		return ip_command(buf, p->ns);
	case 'f':
		return resolv_conf(buf, p->ns);
	case 's':
		snprintf(buf, ADVICE_SIZE, "%sname server%s%s",
		    p->server ? "" : "the ", p->server ? " " : "",
		    p->server ? p->server : "");
		return buf;
	default:
		return strcmp(p->ns, "self") == 0 ? "this namespace" : p->ns;
	}
}

/* Appends a word of a text. Returns the new length. */
static size_t
append_word(char *buf, size_t used, char letter, const struct advice_place *p)
{
	char word[ADVICE_SIZE];
	const size_t room = ADVICE_SIZE - used;
	const int n =
	    snprintf(buf + used, room, "%s", find_word(word, letter, p));

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
