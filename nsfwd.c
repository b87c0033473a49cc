/*
 * Turns the command line and the config file into a struct conf and hands it
 * to serve().
 */

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "nsfwd.h"

#define LINE_SIZE  65536
#define CONNS_MAX  1000000
#define SHOWN_MAX  160 /* bytes of a wrong word in a message */
#define WHITE      " \t\r\v\f"
#define EXIT_USAGE 2

static const struct defaults base = {
    .times = {.connect = 10000, .idle = 0, .half_close = 3600000},
};

struct cli {
	struct conf conf;
	struct defaults defaults;
	const char *config;
	enum log_level level;
	bool check, help, version;
};

/* Where a map was read: file is NULL for the command line. */
struct source {
	const char *file;
	size_t line;
};

enum option_kind {
	SET_FLAG,
	SET_QUIET,
	SET_VERBOSE,
	SET_FILE, /* this and what follows takes a value */
	SET_NS,
	SET_TIME,
	SET_CONNS,
	SET_FD
};

static const struct option {
	char letter; /* 0: none */
	const char *name;
	enum option_kind kind;
	size_t offset; /* into struct cli */
} options[] = {
    {'c', "config", SET_FILE, offsetof(struct cli, config)},
    {0, "check", SET_FLAG, offsetof(struct cli, check)},
    {0, "from", SET_NS, offsetof(struct cli, defaults.from)},
    {0, "to", SET_NS, offsetof(struct cli, defaults.to)},
    {0, "ready-fd", SET_FD, offsetof(struct cli, conf.ready_fd)},
    {'v', "verbose", SET_VERBOSE, offsetof(struct cli, level)},
    {'q', "quiet", SET_QUIET, offsetof(struct cli, level)},
    {0, "max-conns", SET_CONNS, offsetof(struct cli, conf.max_conns)},
    {0, "connect-timeout", SET_TIME,
	offsetof(struct cli, defaults.times.connect)},
    {0, "idle-timeout", SET_TIME, offsetof(struct cli, defaults.times.idle)},
    {0, "half-close-timeout", SET_TIME,
	offsetof(struct cli, defaults.times.half_close)},
    {0, "drain", SET_TIME, offsetof(struct cli, conf.drain)},
    {'h', "help", SET_FLAG, offsetof(struct cli, help)},
    {'V', "version", SET_FLAG, offsetof(struct cli, version)},
};

#define OPTIONS (sizeof(options) / sizeof(options[0]))

static const char help[] =
    "Usage: nsfwd [OPTION]... MAP...\n"
    "Map ports across network namespaces.\n"
    "  MAP      [PROTO:]LISTEN=TARGET[,TARGET]...[,KEY=VALUE]...\n"
    "  PROTO    tcp (udp and tcp+udp are read, but not served yet)\n"
    "  LISTEN   [NS@] and PORTS (on loopback), :PORTS (on every address),\n"
    "           ADDR:PORTS, ADDR/PORTS (IPv6), /path or @abstract\n"
    "  TARGET   the same without :PORTS, also HOST:PORTS; PORTS is N or N-M\n"
    "  NS       a name of ip-netns(8), a path, pid:N, fd:N, self or init\n"
    "  KEY      max, max-source (connections in all, of one client), balance=first,\n"
    "           connect-timeout, idle-timeout, half-close-timeout\n"
    "  -c, --config FILE         maps, one a line; '#' begins a comment\n"
    "      --check               print the maps as understood, and exit\n"
    "      --from NS, --to NS    of a LISTEN, of a TARGET without NS@ (self)\n"
    "      --ready-fd N          write a line to descriptor N once all serve\n"
    "      --max-conns N         connections over all maps (1024)\n"
    "      --connect-timeout T, --idle-timeout T, --half-close-timeout T\n"
    "                            (10s, 0: none, 1h) T is 500ms, 10s, 5m, 2h, 1d\n"
    "      --drain T             left to open connections after TERM (30s)\n"
    "  -v, --verbose; -q, --quiet; -h, --help; -V, --version\n"
    "\n"
    "  nsfwd 9091=vpn@9091           port 9091 of vpn, on this loopback\n"
    "  nsfwd vpn@3128=127.0.0.1:3128 a service of this host, for vpn\n"
    "  nsfwd :80=web@10.0.0.2:80,10.0.0.3:80,max-source=20\n";

/* What a message shows of a text of the length: this many bytes, and these. */
static int
shown(size_t length)
{
	return (int)(length < SHOWN_MAX ? length : SHOWN_MAX);
}

static const char *
dots(size_t length)
{
	return length <= SHOWN_MAX ? "" : "...";
}

/* A wrong option: its word, as the user wrote it, and why. */
static int
refuse(const char *word, const char *value, const char *why)
{
	size_t length = strlen(value);

	log_error("option '%s': '%.*s%s': %s", word, shown(length), value,
	    dots(length), why);
	return -1;
}

/* It must be possible to write the namespace in a map, as --check does. */
static int
set_ns(struct ns *ns, const char *word, const char *value)
{
	const char *why;

	for (const char *s = value; *s; s++)
		if ((unsigned char)*s <= ' ' || *s == 0x7f || strchr("=,@", *s))
			return refuse(word, value,
			    "no '=', ',', '@', white space or control byte");
	ns_free(ns);
	why = ns_parse(ns, value, strlen(value));
	return why ? refuse(word, value, why) : 0;
}

static int
set_ready(int *ready, const char *word, const char *value)
{
	const char *why;
	uint32_t fd;
	int flags;

	if (spec_count(value, strlen(value), 0, INT_MAX, &fd, &why) < 0)
		return refuse(word, value, why);
	flags = fcntl((int)fd, F_GETFL);
	if (flags == -1)
		return refuse(word, value, "no open descriptor");
	if ((flags & O_ACCMODE) == O_RDONLY)
		return refuse(word, value, "not open for writing");
	*ready = (int)fd;
	return 0;
}

static void
set_flag(struct cli *cli, const struct option *option)
{
	void *field = (char *)cli + option->offset;

	if (option->kind == SET_FLAG)
		*(bool *)field = true;
	else
		*(enum log_level *)field =
		    option->kind == SET_QUIET ? LOG_QUIET : LOG_VERBOSE;
}

static int
set_value(struct cli *cli, const struct option *option, const char *word,
    const char *value)
{
	void *field = (char *)cli + option->offset;
	size_t length = strlen(value);
	const char **file = field, *why = "a second file";
	int result = -1;

	switch (option->kind) {
	case SET_NS:
		return set_ns(field, word, value);
	case SET_FD:
		return set_ready(field, word, value);
	case SET_TIME:
		result = spec_time(value, length, field, &why);
		break;
	case SET_CONNS:
		result = spec_count(value, length, 1, CONNS_MAX, field, &why);
		break;
	default:
		if (*file)
			break;
		*file = value;
		return 0;
	}
	return result == 0 ? 0 : refuse(word, value, why);
}

/* Abbreviations are not taken: they change their meaning with a new option. */
static const struct option *
find_long(const char *name, size_t length)
{
	for (size_t i = 0; i < OPTIONS; i++)
		if (strlen(options[i].name) == length &&
		    memcmp(options[i].name, name, length) == 0)
			return &options[i];
	return NULL;
}

static const struct option *
find_short(char letter)
{
	for (size_t i = 0; i < OPTIONS; i++)
		if (options[i].letter == letter)
			return &options[i];
	return NULL;
}

static int
unknown_option(const char *word, size_t length)
{
	log_error("unknown option '%.*s%s' (nsfwd --help lists them)",
	    shown(length), word, dots(length));
	return -1;
}

static bool
takes_value(const struct option *option)
{
	return option->kind >= SET_FILE;
}

/* Sets an option; a value that is NULL may be the next word. */
static int
take_option(struct cli *cli, const struct option *option, const char *word,
    const char *value, char ***next)
{
	if (!takes_value(option) && value) {
		log_error("option '%s' takes no value", word);
		return -1;
	}
	if (!takes_value(option)) {
		set_flag(cli, option);
		return 0;
	}
	if (!value && **next)
		value = *(*next)++;
	if (!value || !*value) {
		log_error("option '%s' needs a value", word);
		return -1;
	}
	return set_value(cli, option, word, value);
}

static int
take_long(struct cli *cli, const char *word, char ***next)
{
	size_t length = strcspn(word, "=");
	const struct option *option = find_long(word + 2, length - 2);
	char name[32];

	if (!option)
		return unknown_option(word, length);
	snprintf(name, sizeof(name), "--%s", option->name);
	return take_option(cli, option, name,
	    word[length] ? word + length + 1 : NULL, next);
}

/* One or several letters; the rest of the word may be the value of the last. */
static int
take_short(struct cli *cli, const char *word, char ***next)
{
	for (const char *s = word + 1; *s; s++) {
		const struct option *option = find_short(*s);
		const char name[] = {'-', *s, '\0'};
		const char *value = NULL;

		if (!option)
			return unknown_option(word, strlen(word));
		if (takes_value(option) && s[1])
			value = s + 1;
		if (take_option(cli, option, name, value, next) < 0)
			return -1;
		if (takes_value(option))
			break;
	}
	return 0;
}

/* Moves the operands to the front. Their number, or -1. */
static int
take_options(struct cli *cli, char **words)
{
	char **next = words;
	int operands = 0;
	bool plain = false;

	while (*next) {
		char *word = *next++;
		int result = 0;

		if (plain || word[0] != '-' || !word[1])
			words[operands++] = word;
		else if (strcmp(word, "--") == 0)
			plain = true;
		else if (word[1] == '-')
			result = take_long(cli, word, &next);
		else
			result = take_short(cli, word, &next);
		if (result < 0)
			return -1;
	}
	return operands;
}

static int
complain(const struct source *source, const char *word,
    const struct spec_error *error)
{
	const char *part = word + error->column - 1;
	size_t all = strlen(word), length = error->length;
	char line[32] = "";

	if (source->file)
		snprintf(line, sizeof(line), ":%zu: ", source->line);
	log_error("%s%s'%.*s%s': column %zu: '%.*s%s': %s",
	    source->file ? source->file : "", line, shown(all), word, dots(all),
	    error->column, shown(length), part, dots(length), error->reason);
	return -1;
}

static int
add_map(struct cli *cli, const char *word, const struct source *source)
{
	struct conf *conf = &cli->conf;
	struct spec_error error;
	struct map *map;

	map = realloc(conf->map, (conf->maps + 1) * sizeof(*map));
	if (!map) {
		log_error("out of memory");
		return -1;
	}
	conf->map = map;
	if (spec_parse(&map[conf->maps], word, &cli->defaults, &error) < 0)
		return complain(source, word, &error);
	conf->maps++;
	return 0;
}

static bool
two_words(char *const *word, int words)
{
	return words == 2 && !strchr(word[0], '=') && !strchr(word[1], '=');
}

static int
add_two_words(struct cli *cli, char *const *word, const struct source *source)
{
	char *joined;
	int result;

	if (asprintf(&joined, "%s=%s", word[0], word[1]) == -1) {
		log_error("out of memory");
		return -1;
	}
	result = add_map(cli, joined, source);
	free(joined);
	return result;
}

static int
add_operands(struct cli *cli, char *const *word, int words)
{
	const struct source source = {NULL, 0};

	if (two_words(word, words))
		return add_two_words(cli, word, &source);
	for (int i = 0; i < words; i++)
		if (add_map(cli, word[i], &source) < 0)
			return -1;
	return 0;
}

static int
add_line(struct cli *cli, char *line, const struct source *source)
{
	char *word[3], *rest, *next = strtok_r(line, WHITE, &rest);
	int words = 0;

	for (; next && *next != '#' && words < 3; words++) {
		word[words] = next;
		next = strtok_r(NULL, WHITE, &rest);
	}
	if (words == 0)
		return 0;
	if (words == 1)
		return add_map(cli, word[0], source);
	if (two_words(word, words))
		return add_two_words(cli, word, source);
	log_error("%s:%zu: '%.*s%s': one map a line, as LISTEN=TARGET... or "
		  "LISTEN TARGET",
	    source->file, source->line, shown(strlen(word[1])), word[1],
	    dots(strlen(word[1])));
	return -1;
}

static int
bad_line(const struct source *source, const char *why)
{
	log_error("%s:%zu: %s", source->file, source->line, why);
	return -1;
}

/* 1 and a line, 0 at the end of the file, -1 with the reason logged. */
static int
read_line(FILE *f, char *line, const struct source *source)
{
	size_t length = 0;
	int c;

	while ((c = getc(f)) != EOF && c != '\n') {
		if (c == '\0')
			return bad_line(source, "a NUL byte: this is no text");
		if (length == LINE_SIZE)
			return bad_line(source, "longer than 65536 bytes");
		line[length++] = (char)c;
	}
	if (ferror(f))
		return bad_line(source, strerror(errno));
	line[length] = '\0';
	return c != EOF || length > 0;
}

static int
add_file(struct cli *cli, const char *file)
{
	struct source source = {file, 1};
	char line[LINE_SIZE + 1];
	FILE *f = fopen(file, "re");
	int result;

	if (!f) {
		log_error("%s: %s", file, strerror(errno));
		return -1;
	}
	while ((result = read_line(f, line, &source)) > 0) {
		result = add_line(cli, line, &source);
		if (result < 0)
			break;
		source.line++;
	}
	fclose(f);
	return result;
}

static int
add_maps(struct cli *cli, char *const *word, int words)
{
	if (cli->config && add_file(cli, cli->config) < 0)
		return -1;
	if (add_operands(cli, word, words) < 0)
		return -1;
	if (cli->conf.maps > 0)
		return 0;
	if (cli->config)
		log_error("%s: no map in it", cli->config);
	else
		log_error("no map: nsfwd LISTEN=TARGET... "
			  "(nsfwd --help says more)");
	return -1;
}

/* Writes a text and a new line to standard output. The exit status. */
static int
say(const char *text, const char *end)
{
	if (fputs(text, stdout) != EOF && fputs(end, stdout) != EOF &&
	    fflush(stdout) == 0)
		return EXIT_SUCCESS;
	log_error("standard output: %s", strerror(errno));
	return EXIT_FAILURE;
}

static int
say_map(const struct map *map)
{
	int length = spec_print(map, &base, NULL, 0), status;
	char *text = malloc((size_t)length + 1);

	if (!text) {
		log_error("out of memory");
		return EXIT_FAILURE;
	}
	spec_print(map, &base, text, (size_t)length + 1);
	status = say(text, "\n");
	free(text);
	return status;
}

static int
say_maps(const struct conf *conf)
{
	int status = EXIT_SUCCESS;

	for (size_t i = 0; i < conf->maps && status == EXIT_SUCCESS; i++)
		status = say_map(&conf->map[i]);
	return status;
}

/*
 * serve() closes the descriptor. 0 to 2 must stay taken, and who reads standard
 * output for the line must then see its end; standard error stays the log.
 */
static int
move_ready(int *ready)
{
	int old = *ready, null;

	if (old == -1 || old > STDERR_FILENO)
		return 0;
	*ready = fcntl(old, F_DUPFD_CLOEXEC, STDERR_FILENO + 1);
	if (*ready == -1)
		return -1;
	if (old == STDERR_FILENO)
		return 0;
	null = open("/dev/null", O_RDWR | O_CLOEXEC);
	if (null == -1 || dup2(null, old) == -1)
		return -1;
	close(null);
	return 0;
}

static int
run(struct cli *cli, char **words)
{
	int operands = take_options(cli, words);

	if (operands < 0)
		return EXIT_USAGE;
	if (cli->help)
		return say(help, "");
	if (cli->version)
		return say("nsfwd " VERSION, "\n");
	if (add_maps(cli, words, operands) < 0)
		return EXIT_USAGE;
	if (cli->check)
		return say_maps(&cli->conf);
	log_level(cli->level);
	if (move_ready(&cli->conf.ready_fd) < 0) {
		log_error("--ready-fd: %s", strerror(errno));
		return EXIT_FAILURE;
	}
	return serve(&cli->conf);
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

int
main(int argc, char **argv)
{
	struct cli cli = {
	    .conf = {.max_conns = 1024, .drain = 30000, .ready_fd = -1},
	    .defaults = base,
	    .level = LOG_NORMAL,
	};
	int status;

	if (argc < 1 || fill_standard_descriptors() < 0)
		return EXIT_FAILURE;
	signal(SIGPIPE, SIG_IGN);
	status = run(&cli, argv + 1);
	for (size_t i = 0; i < cli.conf.maps; i++)
		spec_free(&cli.conf.map[i]);
	free(cli.conf.map);
	ns_free(&cli.defaults.from);
	ns_free(&cli.defaults.to);
	return status;
}
