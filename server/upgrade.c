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
 * descriptor with the wanted address instead of a new socket, and so does
 * unix_listener.c for --stats and --status. The mappers see
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
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/array.h"
#include "base/clock.h"
#include "base/errname.h"
#include "base/log.h"
#include "base/sandbox.h"
#include "base/secret.h"
#include "config/config.h"
#include "config/mask.h"
#include "mapper/command.h"
#include "mapper/mapper.h"
#include "server/mapper_proc.h"
#include "server/readers.h"
#include "server/service.h"
#include "server/systemd.h"
#include "server/unix_listener.h"
#include "server/upgrade.h"

/*
 * PID FD:NS FD:NS... FD+ FD+..., where FD+ is a UNIX socket of the server. A
 * program that does not know "FD+" stops there, closes these, and binds anew.
 */
#define UPGRADE_ENV   "NSFWD_LISTENERS"
#define MAPPERS_ENV   "NSFWD_MAPPERS" /* of the programs before: PID PID... */
#define UPGRADE_ENTRY 40              /* bytes of " FD:NS", at most */
#define MAPPERS_ENTRY 12              /* bytes of " PID", at most */
#define CHECK_TIMEOUT 5               /* seconds, for --check */

/* A listener of a program, for the program that is executed after it. */
struct left_listener {
	int fd; /* -1: taken */
	uint64_t ns_id;
};

/* The listeners of the program before, which upgrade_init() has read. */
static struct left_listener *left;
static int n_left;

/* The mappers of the programs before: leaders of process groups. */
static pid_t *old_mappers;
static size_t n_old_mappers;

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

/* The listeners that the new program inherits. */
struct inheritance {
	struct left_listener *items; /* owned */
	size_t count;
};

static void
add_listeners(struct inheritance *all, const struct service *s)
{
	for (size_t i = 0; i < s->listeners.count; i++)
		all->items[all->count++] =
		    (struct left_listener){s->listeners.items[i].fd,
			s->listeners_ns};
}

/* Lists the listeners of maps, --stats and --status. Returns -1 with errno. */
static int
list_listeners(struct inheritance *all, const struct services *list,
    const struct readers *readers)
{
	const int sockets[] = {readers->stats.fd, readers->status.fd};
	size_t n = readers->tcp.service.listeners.count + ARRAY_LEN(sockets);

	for (size_t i = 0; i < list->count; i++)
		n += list->items[i].listeners.count;
	all->items = calloc(n, sizeof(*all->items));
	if (!all->items)
		return -1;
	for (size_t i = 0; i < list->count; i++)
		add_listeners(all, &list->items[i]);
	add_listeners(all, &readers->tcp.service);
	for (size_t i = 0; i < ARRAY_LEN(sockets); i++)
		if (sockets[i] != -1)
			all->items[all->count++] =
			    (struct left_listener){sockets[i], UPGRADE_NO_NS};
	return 0;
}

static void
set_inherited(const struct inheritance *all, bool inherited)
{
	for (size_t i = 0; i < all->count; i++)
		fcntl(all->items[i].fd, F_SETFD, inherited ? 0 : FD_CLOEXEC);
}

static size_t
print_listener(char *buf, size_t size, const struct left_listener *l)
{
	int n = l->ns_id == UPGRADE_NO_NS
	    ? snprintf(buf, size, " %d+", l->fd)
	    : snprintf(buf, size, " %d:%llu", l->fd,
		  (unsigned long long)l->ns_id);

	return (size_t)n;
}

/* Leaves out the sockets of systemd(1), which $LISTEN_FDS names. */
static int
export_listeners(const struct inheritance *all)
{
	size_t size = (all->count + 1) * UPGRADE_ENTRY, used;
	char *text = malloc(size);
	int result;

	if (!text)
		return -1;
	used = (size_t)snprintf(text, size, "%d", (int)getpid());
	for (const struct left_listener *l = all->items;
	     l < all->items + all->count; l++)
		if (l->fd > STDERR_FILENO + systemd_fd_count())
			used += print_listener(text + used, size - used, l);
	result = setenv(UPGRADE_ENV, text, 1);
	free(text);
	return result;
}

/* Returns true if a process of the group is a child of this process. */
static bool
group_has_child(pid_t group)
{
	pid_t pid;

	while ((pid = waitpid(-group, NULL, WNOHANG)) > 0)
		;
	return pid == 0;
}

/*
 * Signals the mappers of the programs before, and their connections; 0 is no
 * signal. Forgets groups without a child of this process, because the numbers
 * of those may be used again. Returns false if there are none.
 */
static bool
signal_old_mappers(int signal)
{
	size_t n = 0;

	for (size_t i = 0; i < n_old_mappers; i++)
		if (group_has_child(old_mappers[i]))
			old_mappers[n++] = old_mappers[i];
	n_old_mappers = n;
	for (size_t i = 0; i < n && signal; i++) {
		kill(-old_mappers[i], SIGCONT);
		kill(-old_mappers[i], signal);
	}
	return n != 0;
}

/* Names all mappers for read_old_mappers() of the new program. */
static int
export_mappers(void)
{
	size_t used = 0, size = n_old_mappers + 1;
	char *text;
	int result;

	for (struct mapper_proc *m = mapper_list(); m; m = m->next)
		size++;
	text = calloc(size, MAPPERS_ENTRY);
	if (!text)
		return -1;
	size *= MAPPERS_ENTRY;
	for (size_t i = 0; i < n_old_mappers; i++)
		used += (size_t)snprintf(text + used, size - used, " %d",
		    (int)old_mappers[i]);
	for (struct mapper_proc *m = mapper_list(); m; m = m->next)
		used += (size_t)snprintf(text + used, size - used, " %d",
		    (int)m->pid);
	result = setenv(MAPPERS_ENV, text, 1);
	free(text);
	return result;
}

/* Without memory, the mappers end by themselves, after their connections. */
static void
read_old_mappers(const char *text)
{
	pid_t pid;
	char *end;

	old_mappers = calloc(strlen(text) / 2 + 1, sizeof(*old_mappers));
	for (; old_mappers && *text == ' '; text = end) {
		pid = (pid_t)strtol(text + 1, &end, 10);
		if (pid > 1)
			old_mappers[n_old_mappers++] = pid;
	}
}

bool
upgrade_has_mappers(void)
{
	return signal_old_mappers(0);
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
execute_program(const struct inheritance *all, int ready_fd, char *path,
    char **args)
{
	const char *why;

	fcntl(ready_fd, F_SETFD, 0);
	why = try_program(path, args);
	if (why)
		return why;
	log_info("the program was replaced: the new one goes on");
	sandbox_keep_caps_over_exec();
	set_inherited(all, true);
	args[1] = path;
	execv(path, args + 1);
	why = errno_name(errno);
	set_inherited(all, false);
	return why;
}

static void
unset_exports(void)
{
	unsetenv(UPGRADE_ENV);
	unsetenv(MAPPERS_ENV);
}

void
upgrade_run(const struct services *list, const struct readers *readers,
    const struct config *conf)
{
	char path[PATH_MAX];
	char **args = config_split_args(conf, 2);
	struct inheritance all = {0};
	const char *why;

	if (!args || !find_program(path, sizeof(path)) ||
	    list_listeners(&all, list, readers) == -1 ||
	    export_listeners(&all) == -1 || export_mappers() == -1 ||
	    secret_inherit(conf->command_line.text, true) == -1)
		why = errno_name(errno);
	else
		why = execute_program(&all, conf->ready_fd, path, args);
	log_error("the program was replaced, but the old one goes on: %s", why);
	secret_inherit(conf->command_line.text, false);
	unset_exports();
	free(args);
	free(all.items);
}

static int
read_left_listeners(const char *text)
{
	char *end;

	left = calloc(strlen(text) / 3 + 1, sizeof(*left));
	if (!left)
		return -1;
	while (*text == ' ') {
		left[n_left].fd = (int)strtol(text, &end, 10);
		if ((*end != ':' && *end != '+') ||
		    fcntl(left[n_left].fd, F_GETFD) == -1)
			break;
		left[n_left].ns_id =
		    *end++ == '+' ? UPGRADE_NO_NS : strtoull(end, &end, 10);
		fcntl(left[n_left++].fd, F_SETFD, FD_CLOEXEC);
		text = end;
	}
	return n_left;
}

int
upgrade_init(void)
{
	const char *text = getenv(UPGRADE_ENV), *mappers = getenv(MAPPERS_ENV);
	int result = -1;
	char *end;

	if (text && strtol(text, &end, 10) == getpid()) {
		read_old_mappers(mappers ? mappers : "");
		signal_old_mappers(0); /* while this program has no mapper */
		result = read_left_listeners(end);
	}
	unset_exports();
	return result;
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

/* Closes a listener, and removes its file if it has one. */
static void
close_left(int fd)
{
	struct sockaddr_un un = {0};
	socklen_t length = sizeof(un) - 1;
	void *addr = &un;
	bool has_file = getsockname(fd, addr, &length) == 0 &&
	    un.sun_family == AF_UNIX && un.sun_path[0];

	close(fd);
	if (has_file)
		unix_remove_stale(un.sun_path);
}

void
upgrade_finish(void)
{
	while (n_left)
		if (left[--n_left].fd != -1)
			close_left(left[n_left].fd);
	free(left);
	left = NULL;
}
