/* Reads the options, then runs server_run() or stdio_run(). */

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/log.h"
#include "base/proctitle.h"
#include "base/sandbox.h"
#include "base/secret.h"
#include "config/config.h"
#include "config/endpoint.h"
#include "config/map.h"
#include "config/mask.h"
#include "config/options.h"
#include "config/order.h"
#include "config/rules.h"
#include "config/users.h"
#include "server/inspect.h"
#include "server/server.h"
#include "server/stranger.h"
#include "tcp/stdio.h"
#include "tcp/trial.h"
#include "view/view.h"

#ifndef VERSION
#define VERSION "unknown"
#endif

/*
 * Prints the text of --help, --version, --rules or --check. Returns the exit
 * status.
 */
static int
print_info(const struct options *o)
{
	if (o->help)
		fputs(options_help, stdout);
	else if (o->version)
		puts("nsfwd " VERSION);
	else if (o->rules)
		rules_print(stdout, &o->config, o->rules == RULES_TPROXY);
	else
		for (size_t i = 0; i < o->config.n_maps; i++) {
			map_print(stdout, &o->config.maps[i], &config_builtin);
			putchar('\n');
		}
	if (fflush(stdout) == 0 && !ferror(stdout))
		return EXIT_SUCCESS;
	log_error("standard output: %s", strerror(errno));
	return EXIT_FAILURE;
}

/*
 * Opens /dev/null as each of descriptors 0 to 2 that is closed, so that no
 * socket gets such a number. Opens it for reading only, so that --check fails
 * without an output. Returns 0, or -1 with errno.
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
 * Moves the descriptor of --ready-fd above 2, because server_run() closes it:
 * then the reader of standard output sees its end. Standard error stays open
 * for the log. The old number stays open for writing, because the program of an
 * upgrade gets the same option. Returns 0, or -1 with errno.
 */
static int
move_ready_fd(int *ready_fd)
{
	int old = *ready_fd;

	if (old == -1 || old > STDERR_FILENO)
		return 0;
	*ready_fd = fcntl(old, F_DUPFD_CLOEXEC, STDERR_FILENO + 1);
	if (*ready_fd == -1)
		return -1;
	if (old == STDERR_FILENO)
		return 0;
	close(old);
	return open("/dev/null", O_RDWR) == old ? 0 : -1;
}

/* Reports what the maps lack that were read in spite of other wrong lines. */
static void
check_rest(struct config *conf)
{
	users_set_default(conf);
	inspect_all(conf);
}

static int
run_cli(struct options *o, char **args)
{
	struct config *conf = &o->config;
	int status = EXIT_SUCCESS;

	if (options_parse(o, args) == -1)
		return EXIT_USAGE;
	if (o->help || o->version)
		return print_info(o);
	if (o->status || o->top)
		return view_run(o->status, o->top, conf->args, conf->n_args);
	if (o->check)
		order_begin();
	if (config_read(conf, o) == -1) {
		if (o->check == CHECK_ALL && conf->n_files)
			check_rest(conf);
		return EXIT_USAGE;
	}
	if (o->rules)
		return rules_check(conf) == -1 ? EXIT_USAGE : print_info(o);
	users_set_default(conf);
	if (o->check == CHECK_ALL)
		status = inspect_all(conf);
	if (o->check)
		return status ? status : print_info(o);
	log_level((enum log_level)o->log_level);
	if (o->test)
		return trial_run(conf);
	if (move_ready_fd(&conf->ready_fd) == -1) {
		log_error("--ready-fd: %s", strerror(errno));
		return EXIT_FAILURE;
	}
	if (conf->maps->listen.kind == EP_STDIO)
		return stdio_run(conf);
	return server_run(conf);
}

/*
 * Copies the arguments, joined by spaces in the masked copy, and masks argv, so
 * that neither ps(1) nor a message shows a password. Returns the arguments,
 * which end with NULL and point into copy; or NULL without memory. The caller
 * frees the result and both texts of copy, the first of which is secret.
 */
static char **
copy_and_mask_args(struct masked_text *copy, int argc, char **argv)
{
	char **args = calloc((size_t)argc, sizeof(*args)), *text, *masked;
	size_t size = 1, length;

	for (int i = 1; i < argc; i++)
		size += strlen(argv[i]) + 1;
	text = copy->text = secret_new(size);
	masked = copy->masked = calloc(1, size);
	if (!args || !text || !masked) {
		free(args);
		return NULL;
	}
	for (int i = 1; i < argc; i++) {
		length = strlen(argv[i]);
		args[i - 1] = memcpy(text, argv[i], length);
		memcpy(masked, argv[i], length);
		text += length + 1;
		masked += length + 1;
		if (i + 1 < argc)
			masked[-1] = ' ';
	}
	mask_text(copy->masked);
	for (int i = 1; i < argc; i++)
		memcpy(argv[i], masked_part(copy, args[i - 1]),
		    strlen(argv[i]));
	return args;
}

/* Ignores $LISTEN_FDS of another process, see sd_listen_fds(3). */
static void
ignore_foreign_listen_fds(void)
{
	const char *listen_pid = getenv("LISTEN_PID");
	char own_pid[16];

	snprintf(own_pid, sizeof(own_pid), "%d", (int)getpid());
	if (!listen_pid || strcmp(listen_pid, own_pid) != 0)
		unsetenv("LISTEN_FDS");
}

/*
 * Sets the signals, because the parent process may have ignored or blocked
 * them.
 */
static void
init_signals(void)
{
	sigset_t alarm;

	signal(SIGPIPE, SIG_IGN);
	signal(SIGXFSZ, SIG_IGN); /* a log file may reach RLIMIT_FSIZE */
	signal(SIGCHLD, SIG_DFL); /* for waitpid(2) */
	signal(SIGALRM, SIG_DFL); /* ends a reader of --stats that is slow */
	sigemptyset(&alarm);
	sigaddset(&alarm, SIGALRM);
	sigprocmask(SIG_UNBLOCK, &alarm, NULL);
}

int
main(int argc, char **argv)
{
	struct options options = {.log_level = LOG_NORMAL};
	int status = EXIT_FAILURE;
	char **args;

	if (argc < 1)
		return EXIT_FAILURE;
	if (stranger_is_title(argv[0]))
		return stranger_main();
	if (fill_standard_descriptors() == -1) {
		log_error("/dev/null: %s", strerror(errno));
		return EXIT_FAILURE;
	}
	log_init();
	ignore_foreign_listen_fds();
	log_with_colour();
	proctitle_init(argc, argv);
	config_init(&options.config);
	args = copy_and_mask_args(&options.config.command_line, argc, argv);
	init_signals();
	sandbox_seal_constants();
	if (args)
		status = run_cli(&options, args);
	else
		log_error("%s", strerror(ENOMEM));
	order_end();
	free(args);
	config_free(&options.config);
	return status;
}
