/* Reads the options of the command line. */

#include <ctype.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "config/options.h"

#include "base/array.h"
#include "base/log.h"
#include "config/gost.h"
#include "config/map.h"
#include "config/mask.h"
#include "config/value.h"
#include "netns.h"

enum option_kind {
	SET_FLAG,
	SET_FILE, /* this kind and those below take a value */
	SET_SOCKET,
	SET_GOST,
	SET_NS,
	SET_TIME,
	SET_COUNT,
	SET_USER,
	SET_FD
};

#define AT(member) offsetof(struct options, member)

static const struct option {
	const char *name;
	enum option_kind kind;
	size_t offset; /* into struct options */
	int value;     /* of a flag */
} options[] = {
    {"-c", SET_FILE, AT(config.file), 0},
    {"--config", SET_FILE, AT(config.file), 0},
    {"-L", SET_GOST, AT(config.gost_listen), 0},
    {"-F", SET_GOST, AT(config.gost_forward), 0},
    {"--check", SET_FLAG, AT(check), 1},
    {"--from", SET_NS, AT(config.defaults.listen_ns), 0},
    {"--to", SET_NS, AT(config.defaults.target_ns), 0},
    {"--wait", SET_FLAG, AT(config.wait_for_ns), 1},
    {"-d", SET_FLAG, AT(config.daemonize), 1},
    {"--daemon", SET_FLAG, AT(config.daemonize), 1},
    {"-P", SET_FILE, AT(config.pidfile), 0},
    {"--pidfile", SET_FILE, AT(config.pidfile), 0},
    {"--stats", SET_SOCKET, AT(config.stats), 0},
    {"--syslog", SET_FLAG, AT(config.syslog), 1},
    {"--ready-fd", SET_FD, AT(config.ready_fd), 0},
    {"--max-conns", SET_COUNT, AT(config.max_conns), 0},
    {"--workers", SET_COUNT, AT(config.defaults.workers), 0},
    {"--connect-timeout", SET_TIME, AT(config.defaults.times.connect), 0},
    {"--idle-timeout", SET_TIME, AT(config.defaults.times.idle), 0},
    {"--half-close-timeout", SET_TIME, AT(config.defaults.times.half_close), 0},
    {"--udp-timeout", SET_TIME, AT(config.defaults.times.udp), 0},
    {"--udp-one-way-timeout", SET_TIME, AT(config.defaults.times.udp_one_way),
	0},
    {"--drain", SET_TIME, AT(config.drain_timeout), 0},
    {"--user", SET_USER, AT(config.owner_cred), 0},
    {"--no-sandbox", SET_FLAG, AT(config.no_sandbox), 1},
    {"--pin", SET_FLAG, AT(config.pin), 1},
    {"-v", SET_FLAG, AT(log_level), LOG_VERBOSE},
    {"--verbose", SET_FLAG, AT(log_level), LOG_VERBOSE},
    {"-q", SET_FLAG, AT(log_level), LOG_QUIET},
    {"--quiet", SET_FLAG, AT(log_level), LOG_QUIET},
    {"-h", SET_FLAG, AT(help), 1},
    {"--help", SET_FLAG, AT(help), 1},
    {"-V", SET_FLAG, AT(version), 1},
    {"--version", SET_FLAG, AT(version), 1},
};

const char options_help[] =
    "Usage: nsfwd [OPTION]... MAP...\n"
    "Map ports across network namespaces.\n"
    "  MAP      [PROTO:]LISTEN=TARGET[,TARGET]...[,KEY=VALUE]...\n"
    "  PROTO    tcp (the default), udp or tcp+udp\n"
    "  LISTEN   [NS@] and PORTS (on loopback), :PORTS (on every address),\n"
    "           ADDR:PORTS, ADDR/PORTS (IPv6), /path or @abstract; or -\n"
    "  TARGET   the same without :PORTS, also HOST:PORTS; or [NS@]proxy\n"
    "  PORTS    N or N-M\n"
    "  NS       a name of ip-netns(8), a path, pid:N, fd:N, self or init\n"
    "  KEY      allow, deny, max, max-source, accept-proxy (of clients); balance,\n"
    "           via, via-auth, proxy, src, dev, mark (of targets); auth, reach (of\n"
    "           a proxy); mode, owner (of a path); flows, offload (of udp); workers,\n"
    "           user; and the five timeouts below\n"
    "  -L WORD, -F WORD          maps in the spelling of GOST\n"
    "  -c, --config FILE         maps, one a line; '#' begins a comment\n"
    "      --check               print the maps as understood, and exit\n"
    "      --from NS, --to NS    of a LISTEN, of a TARGET without NS@ (self)\n"
    "      --wait                for a namespace or address not there yet\n"
    "  -d, --daemon              go to the background once all serve\n"
    "  -P, --pidfile FILE        holds the process number, and a lock\n"
    "      --stats PATH          a socket that answers with Prometheus metrics\n"
    "      --syslog              log to it, not to standard error\n"
    "      --ready-fd N          write a line to descriptor N once all serve\n"
    "      --max-conns N         connections over all maps (1024)\n"
    "      --workers N           event loops for each map, instead of processes\n"
    "      --connect-timeout T, --idle-timeout T, --half-close-timeout T\n"
    "                            (10s, 0: none, 1h) T is 500ms, 10s, 5m, 2h, 1d\n"
    "      --udp-timeout T, --udp-one-way-timeout T   of idle flows (2m, 30s)\n"
    "      --drain T             left to open connections after TERM (30s)\n"
    "      --user NAME[:GROUP]   who mappers run as (nsfwd, or nobody)\n"
    "      --no-sandbox          without filters of their system calls\n"
    "      --pin                 the server too gives up all privileges\n"
    "  -v, --verbose; -q, --quiet; -h, --help; -V, --version\n"
    "\n"
    "  nsfwd 9091=vpn@9091           port 9091 of vpn, on this loopback\n"
    "  nsfwd vpn@3128=127.0.0.1:3128 a service of this host, for vpn\n"
    "  nsfwd :80=web@10.0.0.2:80,10.0.0.3:80,max-source=20\n";

/* Refuses what a map cannot have in NS@, because --check prints it there. */
static const char *
set_ns(struct ns *ns, const char *value)
{
	for (const char *s = value; *s; s++)
		if (iscntrl((unsigned char)*s) || strchr(" =,@", *s))
			return "no '=', ',', '@', white space or control byte";
	ns_free(ns);
	return map_set_ns(ns, value);
}

static const char *
set_ready_fd(int *ready_fd, const char *value)
{
	uint32_t fd;
	const char *why = parse_count(value, 0, &fd);
	int flags;

	if (why)
		return why;
	flags = fcntl((int)fd, F_GETFL);
	if (flags == -1 || (flags & O_ACCMODE) == O_RDONLY)
		return "no descriptor that is open for writing";
	*ready_fd = (int)fd;
	return NULL;
}

static const char *
set_file(const char **file, const char *value)
{
	if (*file)
		return "a second file";
	*file = value;
	return NULL;
}

/* Sets the field of an option. Returns NULL, or why the value is wrong. */
static const char *
set_option(const struct option *option, void *field, const char *value)
{
	if (option->kind == SET_FLAG) {
		*(int *)field = option->value;
		return value ? "no value is taken" : NULL;
	}
	if (!value)
		return "its value is missing";
	switch (option->kind) {
	case SET_SOCKET:
		if (!strchr(value, '/') || strstr(value, "://"))
			return "the path of a UNIX socket, with '/' in it, as "
			       "./stats";
		return set_file(field, value);
	case SET_FILE:
		return set_file(field, value);
	case SET_NS:
		return set_ns(field, value);
	case SET_TIME:
		return parse_duration(value, field);
	case SET_COUNT:
		return parse_count(value, 1, field);
	case SET_USER:
		return parse_cred(field, value);
	case SET_FLAG:
	case SET_GOST: /* see parse_gost_option() */
	case SET_FD:
		break;
	}
	return set_ready_fd(field, value);
}

/* Abbreviations are not accepted: a new option would change their meaning. */
static const struct option *
find_option(const char *name, size_t length)
{
	for (size_t i = 0; i < ARRAY_LEN(options); i++)
		if (strlen(options[i].name) == length &&
		    memcmp(options[i].name, name, length) == 0)
			return &options[i];
	return NULL;
}

static const char *
masked_arg(const struct options *o, const char *arg)
{
	return masked_part(&o->config.command_line, arg);
}

/* Appends the translation of a value to *all: a line of -L, or a hop of -F. */
static int
parse_gost_option(struct options *o, const char *name, char **all,
    const char *value)
{
	bool forward = name[1] == 'F';
	char *text, *before = *all;
	const char *bad_part;
	int length;
	const char *why =
	    gost_translate(value, forward, &text, &bad_part, &length);

	if (!why &&
	    asprintf(all, "%s%s%s", before ? before : "", text,
		forward ? "" : "\n") == -1)
		why = "out of memory";
	else if (!why)
		free(before);
	if (why)
		log_error("option '%s': '%.*s': '%.*s': %s", name,
		    shown_length(value), masked_arg(o, value), length,
		    masked_arg(o, bad_part), why);
	free(text);
	return why ? -1 : 0;
}

/* Sets an option, to the next argument if it needs a value and has none. */
static int
parse_option(struct options *o, const struct option *option, const char *value,
    char ***next)
{
	void *field = (char *)o + option->offset;
	const char *why;

	if (option->kind != SET_FLAG && !value)
		value = **next ? *(*next)++ : "";
	if (option->kind != SET_FLAG && !*value) {
		log_error("option '%s': its value is missing", option->name);
		return -1;
	}
	if (option->kind == SET_GOST)
		return parse_gost_option(o, option->name, field, value);
	why = set_option(option, field, value);
	if (!why)
		return 0;
	log_error("option '%s': '%.*s': %s", option->name, shown_length(value),
	    masked_arg(o, value), why);
	return -1;
}

/*
 * Logs the first length bytes of an argument, up to the end of a UTF-8
 * character. The rest may be a value. Returns -1.
 */
static int
unknown_option(const struct options *o, const char *arg, size_t length)
{
	int shown = shown_length(arg);

	while (((unsigned char)arg[length] & 0xc0) == 0x80)
		length++;
	log_error("unknown option '%.*s' (nsfwd --help lists them)",
	    length < (size_t)shown ? (int)length : shown, masked_arg(o, arg));
	return -1;
}

/* Parses "--name", "--name=value", "-abc" or "-cvalue". */
static int
parse_arg(struct options *o, char *arg, char ***next)
{
	bool letters = arg[1] != '-';
	size_t length = strcspn(arg, letters ? "" : "=");
	const char *value = arg[length] ? arg + length + 1 : NULL;
	const char *s = arg;
	const struct option *option;

	do {
		s++;
		option = letters ? find_option((char[]){'-', *s}, 2)
				 : find_option(arg, length);
		if (!option)
			return unknown_option(o, arg,
			    letters ? (size_t)(s - arg) + 1 : length);
		if (letters && option->kind != SET_FLAG && s[1])
			value = s + 1;
		if (parse_option(o, option, value, next) == -1)
			return -1;
	} while (letters && option->kind == SET_FLAG && s[1]);
	return 0;
}

int
options_parse(struct options *o, char **args)
{
	char **next = args;
	bool only_maps = false; /* "--" was seen */

	o->config.args = args;
	o->config.n_args = 0;
	while (*next) {
		char *arg = *next++;

		/* "-" and "-=TARGET" are maps */
		if (only_maps || arg[0] != '-' || !arg[1] || arg[1] == '=')
			args[o->config.n_args++] = arg;
		else if (strcmp(arg, "--") == 0)
			only_maps = true;
		else if (parse_arg(o, arg, &next) == -1)
			return -1;
	}
	return 0;
}
