/* Executes a new program in the process of the server. */

/*
 * Theory of operation
 *
 * A package or `make install` puts a new file in the place of the program. At
 * the next HUP the server runs the new program with --check, and then executes
 * the new program in its own process, so that the pid stays and systemd(1) sees
 * no restart.
 *
 * The open listeners stay, too, and their clients wait in the backlog. The
 * environment says which descriptor belongs to which namespace. bind.c takes a
 * descriptor with the wanted address instead of a new socket. The mappers see
 * the end of their channel, as when a server is killed, and drain.
 */

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/types.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/errname.h"
#include "base/log.h"
#include "base/sandbox.h"
#include "config/config.h"
#include "config/endpoint.h"
#include "config/map.h"
#include "config/mask.h"
#include "mapper/command.h"
#include "mapper/mapper.h"
#include "server/mapper_proc.h"
#include "server/service.h"
#include "server/upgrade.h"

#define UPGRADE_ENV   "NSFWD_LISTENERS" /* PID FD:NS FD:NS... */
#define MAPPERS_ENV   "NSFWD_MAPPERS"   /* of the programs before: PID PID... */
#define UPGRADE_ENTRY 40                /* bytes of " FD:NS", at most */
#define CHECK_TIMEOUT 5                 /* seconds, for --check */

/* The listeners that the program before has left, see upgrade_init(). */
static struct left_listener {
	int fd; /* -1: taken */
	uint64_t ns_id;
} * left;
static int n_left;

/* Writes the path of the program. Returns false unless it has a new file. */
static bool
find_program(char *path, size_t size)
{
	static const char deleted[] = " (deleted)";
	ssize_t n = readlink("/proc/self/exe", path, size - 1);
	size_t end = sizeof(deleted) - 1;

	if (n <= (ssize_t)end)
		return false;
	path[n] = '\0';
	if (strcmp(path + n - end, deleted) != 0)
		return false;
	path[n - end] = '\0';
	return access(path, X_OK) == 0;
}

bool
upgrade_available(void)
{
	char path[PATH_MAX];

	return find_program(path, sizeof(path));
}

/*
 * Returns the arguments of the command line, which point into line->text, with
 * two free places in front and a NULL at the end. The caller frees the array.
 */
static char **
split_args(const struct masked_text *line)
{
	char *text = line->text, *end = text + strlen(line->masked);
	char **args = calloc((size_t)(end - text) + 4, sizeof(*args));
	size_t n = 2;

	if (!args)
		return NULL;
	for (; text <= end; text += strlen(text) + 1)
		args[n++] = text;
	return args;
}

/* Returns NULL if the new program accepts the arguments, or why not. */
static const char *
try_program(char *path, char **args)
{
	static char check[] = "--check";
	int status = 0, null;
	pid_t pid = fork();

	args[0] = path;
	args[1] = check;
	if (pid == 0) {
		null = open("/dev/null", O_RDWR | O_CLOEXEC);
		alarm(CHECK_TIMEOUT);
		if (null != -1 && dup2(null, STDOUT_FILENO) != -1)
			execv(path, args);
		_exit(127);
	}
	while (pid != -1 && waitpid(pid, &status, 0) == -1 && errno == EINTR)
		;
	if (pid == -1)
		return errno_name(errno);
	return status ? "it does not accept the configuration" : NULL;
}

static void
set_inherited(const struct services *list, bool inherited)
{
	for (size_t i = 0; i < list->count; i++)
		for (size_t k = 0; k < list->items[i].listeners.count; k++)
			fcntl(list->items[i].listeners.items[k].fd, F_SETFD,
			    inherited ? 0 : FD_CLOEXEC);
}

static int
export_listeners(const struct services *list)
{
	size_t size = UPGRADE_ENTRY, used;
	char *text;
	int result;

	for (size_t i = 0; i < list->count; i++)
		size += list->items[i].listeners.count * UPGRADE_ENTRY;
	text = malloc(size);
	if (!text)
		return -1;
	used = (size_t)snprintf(text, size, "%d", (int)getpid());
	for (size_t i = 0; i < list->count; i++) {
		const struct service *s = &list->items[i];

		if (s->listeners.count && s->map->listen.kind == EP_SYSTEMD)
			continue;
		for (size_t k = 0; k < s->listeners.count; k++)
			used += (size_t)snprintf(text + used, size - used,
			    " %d:%llu", s->listeners.items[k].fd,
			    (unsigned long long)s->listeners_ns);
	}
	result = setenv(UPGRADE_ENV, text, 1);
	free(text);
	return result;
}

/* Names the mappers for signal_old_mappers() of the new program. */
static int
export_mappers(void)
{
	const char *before = getenv(MAPPERS_ENV);
	size_t used = 0, size = 1;
	char *text;
	int result;

	before = before ? before : "";
	size += strlen(before);
	for (struct mapper_proc *m = mapper_list(); m; m = m->next)
		size += 12;
	text = malloc(size);
	if (!text)
		return -1;
	used = (size_t)snprintf(text, size, "%s", before);
	for (struct mapper_proc *m = mapper_list(); m; m = m->next)
		used += (size_t)snprintf(text + used, size - used, " %d",
		    (int)m->pid);
	result = setenv(MAPPERS_ENV, text, 1);
	free(text);
	return result;
}

/*
 * Signals the mappers of the programs before, and their connections. Signals
 * only groups with children of this process, because the numbers of those are
 * not used again. Returns false if there are none.
 */
static bool
signal_old_mappers(int signal)
{
	const char *text = getenv(MAPPERS_ENV);
	bool found = false;
	char *end;

	for (; text && *text == ' '; text = end) {
		pid_t pid = (pid_t)strtol(text + 1, &end, 10), got;

		while (pid > 1 && (got = waitpid(-pid, NULL, WNOHANG)) > 0)
			;
		if (pid <= 1 || got != 0)
			continue;
		found = true;
		kill(-pid, SIGCONT);
		kill(-pid, signal);
	}
	return found;
}

void
upgrade_end_mappers(void)
{
	msec end = now_ms() + KILL_MS;

	if (!signal_old_mappers(CHILD_KILL_SIGNAL))
		return;
	while (signal_old_mappers(0) && now_ms() < end)
		poll(NULL, 0, 10);
	signal_old_mappers(SIGKILL);
}

/* Executes the new program. Returns only after a failure, and why it failed. */
static const char *
execute_program(const struct services *list, int ready_fd, char *path,
    char **args)
{
	const char *why;

	fcntl(ready_fd, F_SETFD, 0);
	why = try_program(path, args);
	if (why)
		return why;
	log_info("the program was replaced: the new one goes on");
	sandbox_keep_caps_over_exec();
	set_inherited(list, true);
	args[1] = path;
	execv(path, args + 1);
	why = errno_name(errno);
	set_inherited(list, false);
	return why;
}

/* Returns a copy of the list with one more service, or without items. */
static struct services
add_service(const struct services *list, const struct service *more)
{
	struct services all = {
	    .items = calloc(list->count + 1, sizeof(*all.items)),
	    .count = list->count + 1,
	};

	if (all.items && list->count)
		memcpy(all.items, list->items,
		    list->count * sizeof(*list->items));
	if (all.items)
		all.items[list->count] = *more;
	return all;
}

void
upgrade_run(const struct services *list, const struct service *stats,
    const struct config *conf)
{
	char path[PATH_MAX], **args = split_args(&conf->command_line);
	struct services all = add_service(list, stats);
	const char *why;

	if (!args || !all.items || !find_program(path, sizeof(path)) ||
	    export_listeners(&all) == -1 || export_mappers() == -1)
		why = errno_name(errno);
	else
		why = execute_program(&all, conf->ready_fd, path, args);
	log_error("the program was replaced, but the old one goes on: %s", why);
	unsetenv(UPGRADE_ENV);
	free(args);
	free(all.items);
}

int
upgrade_init(void)
{
	const char *text = getenv(UPGRADE_ENV);
	char *end;

	if (!text || strtol(text, &end, 10) != getpid())
		return -1;
	left = calloc(strlen(end) / 4 + 1, sizeof(*left));
	if (!left)
		return -1;
	while (*end == ' ') {
		left[n_left].fd = (int)strtol(end, &end, 10);
		if (*end != ':' || fcntl(left[n_left].fd, F_GETFD) == -1)
			break;
		left[n_left++].ns_id = strtoull(end + 1, &end, 10);
	}
	for (int i = 0; i < n_left; i++)
		fcntl(left[i].fd, F_SETFD, FD_CLOEXEC);
	return n_left;
}

void
upgrade_fds(int *fds)
{
	for (int i = 0; i < n_left; i++)
		fds[i] = left[i].fd;
}

/* Returns true if the socket has that type and that address. */
static bool
is_bound_to(int fd, const void *addr, socklen_t length, int type)
{
	struct sockaddr_storage own = {0};
	socklen_t own_length = sizeof(own), size = sizeof(int);
	void *p = &own;
	int own_type;

	return getsockopt(fd, SOL_SOCKET, SO_TYPE, &own_type, &size) == 0 &&
	    own_type == type && getsockname(fd, p, &own_length) == 0 &&
	    own_length == length && memcmp(addr, p, length) == 0;
}

int
upgrade_take(uint64_t ns_id, const void *addr, socklen_t length, int type)
{
	int fd;

	for (int i = 0; i < n_left; i++) {
		fd = left[i].fd;
		if (fd == -1 || left[i].ns_id != ns_id ||
		    !is_bound_to(fd, addr, length, type))
			continue;
		left[i].fd = -1;
		return fd;
	}
	return -1;
}

void
upgrade_finish(void)
{
	while (n_left)
		if (left[--n_left].fd != -1)
			close(left[n_left].fd);
	free(left);
	left = NULL;
}
