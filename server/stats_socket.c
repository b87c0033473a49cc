/* Opens the sockets of --stats and --status, and accepts their clients. */

/*
 * Theory of operation
 *
 * The socket of --status has the pid of the server in its name, so that no two
 * servers share a name. The start removes the sockets of servers that have been
 * killed; an upgrade keeps the pid, and thus the name.
 */

#include <dirent.h>
#include <errno.h>
#include <limits.h>
#include <poll.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/types.h>
#include <unistd.h>

#include "base/advice.h"
#include "base/errname.h"
#include "base/log.h"
#include "base/rundir.h"
#include "config/config.h"
#include "config/map.h"
#include "mapper/mapper.h"
#include "server/answer.h"
#include "server/listen_check.h"
#include "server/service.h"
#include "server/stats_socket.h"
#include "server/unix_listener.h"

#define STATS_PAUSE_MS 100 /* after an error of accept(2) or fork(2) */

void
stats_socket_log_error(const char *path, int err, bool waits)
{
	const struct advice_place place = {
	    .tried = ADVICE_LISTEN_UNIX,
	    .addr = path,
	    .ns = "self",
	};
	char hint[ADVICE_SIZE];

	log_error("'--stats': %s on %s: %s: %s",
	    waits && err == ENOENT ? "waits to listen" : "cannot listen", path,
	    errno_advice(hint, err, &place) ? hint : "bind", errno_name(err));
}

int
stats_socket_open(struct stats_socket *s, bool waits)
{
	s->fd = unix_listen(s->path);
	if (s->fd != -1) {
		unix_file_record(&s->file, s->path);
		s->logged_errno = 0;
		return 0;
	}
	if (errno != s->logged_errno)
		stats_socket_log_error(s->path, errno, waits);
	s->logged_errno = errno;
	return -1;
}

/* Removes the sockets of servers that have been killed. */
static void
remove_stale_sockets(const char *dir)
{
	char path[PATH_MAX + NAME_MAX + 2];
	struct dirent *entry;
	DIR *stream = opendir(dir);

	while (stream && (entry = readdir(stream))) {
		if (strncmp(entry->d_name, RUNDIR_SOCKET,
			strlen(RUNDIR_SOCKET)) != 0)
			continue;
		snprintf(path, sizeof(path), "%s/%s", dir, entry->d_name);
		unix_remove_stale(path);
	}
	if (stream)
		closedir(stream);
}

/* Opens the socket in a directory, which is made. Returns -1 with errno. */
static int
open_in_directory(struct stats_socket *s, const char *dir)
{
	const size_t size = sizeof(s->own_path);

	if (snprintf(s->own_path, size, "%s/" RUNDIR_SOCKET "%d", dir,
		(int)getpid()) >= (int)size) {
		errno = ENAMETOOLONG;
		return -1;
	}
	if (mkdir(dir, 0755) == -1 && errno != EEXIST)
		return -1;
	remove_stale_sockets(dir);
	s->fd = unix_listen(s->own_path);
	if (s->fd == -1)
		return -1;
	s->path = s->own_path;
	unix_file_record(&s->file, s->path);
	return 0;
}

void
stats_socket_open_status(struct stats_socket *s)
{
	char dir[PATH_MAX];
	bool any = false;

	for (int i = 0; rundir_path(dir, sizeof(dir), i); i++) {
		if (!*dir)
			continue;
		any = true;
		if (open_in_directory(s, dir) == 0)
			return;
		log_debug("--status: no socket in %s: %s", dir,
		    errno_name(errno));
	}
	if (!any)
		log_debug("--status: no socket: neither root nor "
			  "$XDG_RUNTIME_DIR");
}

void
stats_socket_close(struct stats_socket *s)
{
	if (s->fd == -1)
		return;
	unix_file_remove(&s->file, s->path);
	close(s->fd);
	s->fd = -1;
}

void
stats_socket_check(struct stats_socket *s)
{
	if (!s->path)
		return;
	if (s->fd != -1 && unix_file_changed(&s->file, s->path)) {
		log_error("--stats: its socket file was removed or replaced: "
			  "listens anew");
		stats_socket_close(s);
	}
	if (s->fd == -1)
		stats_socket_open(s, true);
}

int
stats_socket_pollfd(const struct stats_socket *s)
{
	return answers_full(&s->answers) ? -1 : s->fd;
}

/*
 * EAGAIN of accept(2) means that the client has closed. Pauses after other
 * errors, because a client that could not be accepted is still in the queue.
 */
static void
accept_and_answer(int fd, struct answers *answers, const struct services *list,
    const struct config *conf)
{
	int client = accept4(fd, NULL, NULL, SOCK_CLOEXEC);
	int result = client;

	if (client != -1)
		result =
		    answer_spawn(answers, answers->kind, client, list, conf);
	if (result == -1 && (client != -1 || errno != EAGAIN)) {
		log_ratelimited("--stats: %s", strerror(errno));
		poll(NULL, 0, STATS_PAUSE_MS);
	}
	if (client != -1)
		close(client);
}

void
stats_socket_accept(struct stats_socket *s, const struct services *list,
    const struct config *conf)
{
	accept_and_answer(s->fd, &s->answers, list, conf);
}

/* Returns -1 with errno, logged unless it is that of the last attempt. */
static int
tcp_listen_again(struct service *s, bool waits)
{
	if ((s->listeners_ns || service_open(s, s->logged_errno, waits) == 0) &&
	    service_listen(s, s->logged_errno) == 0) {
		s->logged_errno = 0;
		return 0;
	}
	s->logged_errno = errno;
	service_close(s);
	return -1;
}

int
stats_tcp_open(struct stats_tcp *t, const struct config *conf)
{
	struct service *s = &t->service;
	int status;

	if (!t->map.spec)
		return 1;
	*s = (struct service){.map = &t->map, .proto = PROTO_TCP};
	status = service_probe_ns(s, conf->wait_for_ns);
	if (status || !s->listen_ns_id)
		return status;
	return tcp_listen_again(s, conf->wait_for_ns) == -1 &&
	    !conf->wait_for_ns;
}

void
stats_tcp_check(struct stats_tcp *t, const struct config *conf)
{
	if (!t->map.spec)
		return;
	service_check_ns(&t->service, conf);
	if (t->service.listen_ns_id)
		tcp_listen_again(&t->service, true);
}

void
stats_tcp_close(struct stats_tcp *t)
{
	if (!t->map.spec)
		return;
	if (t->service.map) /* the service was opened */
		service_close(&t->service);
	map_free(&t->map);
	t->map.spec = NULL;
}

int
stats_tcp_pollfd(const struct stats_tcp *t, size_t i)
{
	return i >= t->service.listeners.count || answers_full(&t->answers)
	    ? -1
	    : t->service.listeners.items[i].fd;
}

/* A listener that `ss -K` has destroyed would report events without end. */
void
stats_tcp_accept(struct stats_tcp *t, size_t i, const struct services *list,
    const struct config *conf)
{
	int fd = stats_tcp_pollfd(t, i);

	if (fd == -1)
		return;
	if (listen_state(fd) == 0)
		tcp_listen_again(&t->service, true);
	else
		accept_and_answer(fd, &t->answers, list, conf);
}
