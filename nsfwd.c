/*
 * Turns the command line and the config file into a struct conf and hands it
 * to serve().
 */

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/array.h"
#include "base/log.h"
#include "base/proctitle.h"
#include "base/sandbox.h"
#include "config/config.h"
#include "config/endpoint.h"
#include "config/gost.h"
#include "config/map.h"
#include "config/mask.h"
#include "config/value.h"
#include "netns.h"
#include "server/daemon.h"
#include "server/server.h"
#include "tcp/stdio.h"

#ifndef VERSION
#define VERSION "unknown"
#endif

#define EXIT_USAGE 2
#define SHOWN_MAX  160
#define NOBODY     65534 /* where none is known by that name */

static const struct map builtin = {
    .times = {.connect = 10000,
	.half_close = 3600000,
	.udp_one_way = 30000,
	.udp = 120000},
    .limits = {.flows = 4096},
    .src = {.kind = EP_ANY},
};

struct cli {
	struct config conf;
	struct map defaults; /* where the word of a map is silent */
	const char *config;
	struct shown shown; /* the command line */
	char **args;        /* the operands, in that */
	int n_operands;
	char *listen;  /* a line for each -L, a map so far without... */
	char *forward; /* ...the hops that all of -F add to each */
	int level, check, help, version;
};

enum option_kind {
	SET_FLAG,
	SET_FILE, /* this and what follows takes a value */
	SET_SOCKET,
	SET_GOST,
	SET_NS,
	SET_TIME,
	SET_COUNT,
	SET_USER,
	SET_FD
};

#define AT(member) offsetof(struct cli, member)

static const struct option {
	const char *name;
	enum option_kind kind;
	size_t offset; /* into struct cli */
	int value;     /* of a flag */
} options[] = {
    {"-c", SET_FILE, AT(config), 0},
    {"--config", SET_FILE, AT(config), 0},
    {"-L", SET_GOST, AT(listen), 0},
    {"-F", SET_GOST, AT(forward), 0},
    {"--check", SET_FLAG, AT(check), 1},
    {"--from", SET_NS, AT(defaults.listen_ns), 0},
    {"--to", SET_NS, AT(defaults.target_ns), 0},
    {"--wait", SET_FLAG, AT(conf.wait_for_ns), 1},
    {"-d", SET_FLAG, AT(conf.daemonize), 1},
    {"--daemon", SET_FLAG, AT(conf.daemonize), 1},
    {"-P", SET_FILE, AT(conf.pidfile), 0},
    {"--pidfile", SET_FILE, AT(conf.pidfile), 0},
    {"--stats", SET_SOCKET, AT(conf.stats), 0},
    {"--syslog", SET_FLAG, AT(conf.syslog), 1},
    {"--ready-fd", SET_FD, AT(conf.ready_fd), 0},
    {"--max-conns", SET_COUNT, AT(conf.max_conns), 0},
    {"--workers", SET_COUNT, AT(defaults.workers), 0},
    {"--connect-timeout", SET_TIME, AT(defaults.times.connect), 0},
    {"--idle-timeout", SET_TIME, AT(defaults.times.idle), 0},
    {"--half-close-timeout", SET_TIME, AT(defaults.times.half_close), 0},
    {"--udp-timeout", SET_TIME, AT(defaults.times.udp), 0},
    {"--udp-one-way-timeout", SET_TIME, AT(defaults.times.udp_one_way), 0},
    {"--drain", SET_TIME, AT(conf.drain_timeout), 0},
    {"--user", SET_USER, AT(conf.owner_cred), 0},
    {"--no-sandbox", SET_FLAG, AT(conf.no_sandbox), 1},
    {"--pin", SET_FLAG, AT(conf.pin), 1},
    {"-v", SET_FLAG, AT(level), LOG_VERBOSE},
    {"--verbose", SET_FLAG, AT(level), LOG_VERBOSE},
    {"-q", SET_FLAG, AT(level), LOG_QUIET},
    {"--quiet", SET_FLAG, AT(level), LOG_QUIET},
    {"-h", SET_FLAG, AT(help), 1},
    {"--help", SET_FLAG, AT(help), 1},
    {"-V", SET_FLAG, AT(version), 1},
    {"--version", SET_FLAG, AT(version), 1},
};

#define OPTIONS (ARRAY_LEN(options))

static const char help[] =
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
    "           a proxy); mode, owner (of a path); flows, offload (of udp); workers;\n"
    "           and the five timeouts below\n"
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
    "      --user NAME[:GROUP]   who mappers and connections run as (nobody)\n"
    "      --no-sandbox          without filters of their system calls\n"
    "      --pin                 the server too gives up all privileges\n"
    "  -v, --verbose; -q, --quiet; -h, --help; -V, --version\n"
    "\n"
    "  nsfwd 9091=vpn@9091           port 9091 of vpn, on this loopback\n"
    "  nsfwd vpn@3128=127.0.0.1:3128 a service of this host, for vpn\n"
    "  nsfwd :80=web@10.0.0.2:80,10.0.0.3:80,max-source=20\n";

/* It must be possible to write the namespace in a map, as --check does. */
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
set_ready(int *ready, const char *value)
{
	uint32_t fd;
	const char *why = parse_count(value, 0, &fd);
	int flags;

	if (why)
		return why;
	flags = fcntl((int)fd, F_GETFL);
	if (flags == -1 || (flags & O_ACCMODE) == O_RDONLY)
		return "no descriptor that is open for writing";
	*ready = (int)fd;
	return NULL;
}

static const char *
set_option(const struct option *option, void *field, const char *value)
{
	const char **file = field;

	switch (option->kind) {
	case SET_FLAG:
		*(int *)field = option->value;
		return value ? "no value is taken" : NULL;
	case SET_SOCKET:
		if (!strchr(value, '/') || strstr(value, "://"))
			return "the path of a UNIX socket, with '/' in it, as "
			       "./stats";
		/* fallthrough */
	case SET_FILE:
		if (*file)
			return "a second file";
		*file = value;
		return NULL;
	case SET_NS:
		return set_ns(field, value);
	case SET_TIME:
		return parse_duration(value, field);
	case SET_COUNT:
		return parse_count(value, 1, field);
	case SET_USER:
		return parse_cred(field, value);
	case SET_GOST: /* see parse_gost_option() */
	case SET_FD:
		break;
	}
	return set_ready(field, value);
}

/* Abbreviations are not taken: they change their meaning with a new option. */
static const struct option *
find_option(const char *name, size_t length)
{
	for (const struct option *o = options; o < options + OPTIONS; o++)
		if (strlen(o->name) == length &&
		    memcmp(o->name, name, length) == 0)
			return o;
	return NULL;
}

/* How a message shows what stands there in the command line. */
static const char *
shown_at(const struct cli *cli, const char *at)
{
	return cli->shown.shown + (at - cli->shown.text);
}

static int
length_of(const char *word)
{
	return (int)strnlen(word, SHOWN_MAX);
}

static int
parse_gost_option(struct cli *cli, const char *name, char **all,
    const char *value)
{
	bool forward = name[1] == 'F';
	char *text, *before = *all;
	const char *part;
	int length;
	const char *why = gost_translate(value, forward, &text, &part, &length);

	if (!why &&
	    asprintf(all, "%s%s%s", before ? before : "", text,
		forward ? "" : "\n") == -1)
		why = "out of memory";
	else if (!why)
		free(before);
	if (why)
		log_error("option '%s': '%.*s': '%.*s': %s", name,
		    length_of(value), shown_at(cli, value), length,
		    shown_at(cli, part), why);
	free(text);
	return why ? -1 : 0;
}

/* Sets an option; where value is NULL, it may need the next word. */
static int
parse_option(struct cli *cli, const struct option *option, const char *value,
    char ***next)
{
	const char *why;

	if (option->kind != SET_FLAG && !value)
		value = **next ? *(*next)++ : "";
	if (option->kind != SET_FLAG && !*value) {
		log_error("option '%s': its value is missing", option->name);
		return -1;
	}
	if (option->kind == SET_GOST)
		return parse_gost_option(cli, option->name,
		    (void *)((char *)cli + option->offset), value);
	why = set_option(option, (char *)cli + option->offset, value);
	if (!why)
		return 0;
	log_error("option '%s': '%.*s': %s", option->name, length_of(value),
	    shown_at(cli, value), why);
	return -1;
}

/* What stands behind it may be a value: a letter is shown up to its end. */
static int
unknown(const struct cli *cli, const char *word, size_t length)
{
	while (((unsigned char)word[length] & 0xc0) == 0x80)
		length++;
	log_error("unknown option '%.*s' (nsfwd --help lists them)",
	    (int)(length < SHOWN_MAX ? length : SHOWN_MAX),
	    shown_at(cli, word));
	return -1;
}

/* "--name", "--name=value", "-abc", "-cvalue" */
static int
parse_arg(struct cli *cli, char *word, char ***next)
{
	bool letters = word[1] != '-';
	size_t length = strcspn(word, letters ? "" : "=");
	const char *value = word[length] ? word + length + 1 : NULL;
	const char *s = word;
	const struct option *option;

	do {
		s++;
		option = letters ? find_option((char[]){'-', *s}, 2)
				 : find_option(word, length);
		if (!option)
			return unknown(cli, word,
			    letters ? (size_t)(s - word) + 1 : length);
		if (letters && option->kind != SET_FLAG && s[1])
			value = s + 1;
		if (parse_option(cli, option, value, next) < 0)
			return -1;
	} while (letters && option->kind == SET_FLAG && s[1]);
	return 0;
}

/* Moves the operands to the front. Their number, or -1. */
static int
parse_options(struct cli *cli, char **words)
{
	char **next = words;
	int operands = 0;
	bool plain = false;

	while (*next) {
		char *word = *next++;

		/* "-" and "-=TARGET" are maps */
		if (plain || word[0] != '-' || !word[1] || word[1] == '=')
			words[operands++] = word;
		else if (strcmp(word, "--") == 0)
			plain = true;
		else if (parse_arg(cli, word, &next) < 0)
			return -1;
	}
	return operands;
}

/* The file and the words. */
static int
read_maps(struct cli *cli)
{
	struct config *conf = &cli->conf;
	const char *listen = cli->listen ? cli->listen : "";
	const char *forward = cli->forward ? cli->forward : "";

	if ((cli->config &&
		config_add_file(conf, &cli->defaults, cli->config) < 0) ||
	    config_add_args(conf, &cli->defaults, "", cli->args,
		cli->n_operands, &cli->shown) < 0 ||
	    config_add_gost(conf, &cli->defaults, listen, forward) < 0 ||
	    config_check(conf) < 0)
		return -1;
	if (*forward && !*listen) {
		log_error("-F is for -L (a map has via=)");
		return -1;
	}
	for (size_t i = 0; i < conf->n_maps && conf->n_maps > 1; i++)
		if (conf->maps[i].listen.kind == EP_STDIO) {
			log_error("%s'%s': it must be the only map",
			    conf->maps[i].origin, conf->maps[i].spec);
			return -1;
		}
	if (conf->n_maps > 0)
		return 0;
	log_error(
	    "no map in %.*s: write LISTEN=TARGET (nsfwd --help says more)",
	    SHOWN_MAX,
	    cli->config ? shown_at(cli, cli->config) : "the command line");
	return -1;
}

/* serve() calls it with the conf that it was given. */
static int
reread_config(const struct config *conf, struct config *fresh)
{
	struct cli cli = *(const struct cli *)(const void *)conf;

	if (!conf->has_files) {
		log_error("there is no file to read again (--config)");
		return -1;
	}
	cli.conf.maps = NULL;
	cli.conf.n_maps = 0;
	cli.conf.reloading = true;
	if (read_maps(&cli) < 0) {
		config_free_maps(&cli.conf);
		return -1;
	}
	*fresh = cli.conf;
	return 0;
}

/* What the options ask for instead of serving. The exit status. */
static int
print_info(const struct cli *cli)
{
	if (cli->help)
		fputs(help, stdout);
	else if (cli->version)
		puts("nsfwd " VERSION);
	else
		for (size_t i = 0; i < cli->conf.n_maps; i++) {
			map_print(stdout, &cli->conf.maps[i], &builtin);
			putchar('\n');
		}
	if (fflush(stdout) == 0 && !ferror(stdout))
		return EXIT_SUCCESS;
	log_error("standard output: %s", strerror(errno));
	return EXIT_FAILURE;
}

/*
 * No socket may land on 0 to 2. What is opened instead refuses to be written:
 * --check must not succeed without an output.
 */
static int
fill_standard_descriptors(void)
{
	for (int fd = STDIN_FILENO; fd <= STDERR_FILENO; fd++)
		if (fcntl(fd, F_GETFD) == -1 &&
		    open("/dev/null", O_RDONLY) != fd)
			return -1;
	return 0;
}

/*
 * serve() closes the descriptor. 0 to 2 must stay taken, and who reads standard
 * output for the line must then see its end; standard error stays the log.
 */
static int
move_ready_fd(int *ready)
{
	int old = *ready;

	if (old == -1 || old > STDERR_FILENO)
		return 0;
	*ready = fcntl(old, F_DUPFD_CLOEXEC, STDERR_FILENO + 1);
	if (*ready == -1)
		return -1;
	if (old != STDERR_FILENO)
		close(old);
	return fill_standard_descriptors();
}

static void
default_cred(struct cred *cred)
{
	if (parse_cred(cred, "nobody"))
		cred->uid = cred->gid = NOBODY;
	cred->explicit = false;
}

static int
run_cli(struct cli *cli, char **words)
{
	cli->args = words;
	cli->n_operands = parse_options(cli, words);
	if (cli->n_operands < 0)
		return EXIT_USAGE;
	if (cli->help || cli->version)
		return print_info(cli);
	if (read_maps(cli) < 0)
		return EXIT_USAGE;
	if (cli->check)
		return print_info(cli);
	log_level((enum log_level)cli->level);
	if (move_ready_fd(&cli->conf.ready_fd) < 0) {
		log_error("--ready-fd: %s", strerror(errno));
		return EXIT_FAILURE;
	}
	if (!cli->conf.owner_cred.explicit)
		default_cred(&cli->conf.owner_cred);
	if (cli->conf.maps->listen.kind == EP_STDIO)
		return stdio_run(&cli->conf);
	return server_run(&cli->conf);
}

/*
 * The words, for good, each from a copy of the command line: what ps(1) shows,
 * and messages do, is without passwords from now on. NULL without memory.
 */
static char **
hide_words(struct cli *cli, int argc, char **argv)
{
	char **words = calloc((size_t)argc, sizeof(*words)), *text, *shown;
	size_t size = 1, length;

	for (int i = 1; i < argc; i++)
		size += strlen(argv[i]) + 1;
	text = calloc(1, size);
	shown = calloc(1, size);
	cli->shown = (struct shown){text, shown};
	if (!words || !text || !shown)
		return NULL;
	for (int i = 1; i < argc; i++) {
		length = strlen(argv[i]);
		words[i - 1] = memcpy(text, argv[i], length);
		memcpy(shown, argv[i], length);
		text += length + 1;
		shown += length + 1;
		if (i + 1 < argc)
			shown[-1] = ' ';
	}
	mask_text(cli->shown.shown);
	for (int i = 1; i < argc; i++)
		memcpy(argv[i], shown_at(cli, words[i - 1]), strlen(argv[i]));
	return words;
}

/* $LISTEN_FDS may have been meant for who started us, sd_listen_fds(3). */
static void
ignore_foreign_listen_fds(void)
{
	const char *pid = getenv("LISTEN_PID");
	char own[16];

	snprintf(own, sizeof(own), "%d", (int)getpid());
	if (!pid || strcmp(pid, own) != 0)
		unsetenv("LISTEN_FDS");
}

int
main(int argc, char **argv)
{
	struct cli cli = {
	    .conf = {.max_conns = 1024,
		.drain_timeout = 30000,
		.ready_fd = -1,
		.reread = reread_config},
	    .defaults = builtin,
	    .level = LOG_NORMAL,
	};
	sigset_t timer;
	char **words;
	int status;

	if (argc < 1)
		return EXIT_FAILURE;
	if (fill_standard_descriptors() < 0) {
		log_error("/dev/null: %s", strerror(errno));
		return EXIT_FAILURE;
	}
	ignore_foreign_listen_fds();
	proctitle_init(argc, argv);
	words = hide_words(&cli, argc, argv);
	if (!words) {
		log_error("%s", strerror(ENOMEM));
		return EXIT_FAILURE;
	}
	signal(SIGPIPE, SIG_IGN);
	signal(SIGXFSZ, SIG_IGN); /* a log file may be full */
	signal(SIGCHLD, SIG_DFL); /* whatever we inherited: waitpid(2) needs */
	signal(SIGALRM, SIG_DFL); /* it, and so does the resolver's deadline */
	sigemptyset(&timer);
	sigaddset(&timer, SIGALRM);
	sigprocmask(SIG_UNBLOCK, &timer, NULL);
	status = run_cli(&cli, words);
	free(words);
	free(cli.shown.text);
	free(cli.shown.shown);
	free(cli.listen);
	free(cli.forward);
	config_free_maps(&cli.conf);
	map_free(&cli.defaults);
	return status;
}
