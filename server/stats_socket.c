/* Answers the clients of --stats with metrics, each in a process of its own. */

#include <errno.h>
#include <limits.h>
#include <poll.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/types.h>
#include <unistd.h>

#include "base/advice.h"
#include "base/errname.h"
#include "base/fd.h"
#include "base/log.h"
#include "base/proctitle.h"
#include "base/sandbox.h"
#include "server/stats.h"
#include "server/stats_socket.h"
#include "server/unix_listener.h"

#define ANSWER_S       3   /* until an answering process is killed */
#define STATS_PAUSE_MS 100 /* after an error of accept(2) or fork(2) */
#define REQUEST_MS     250 /* to wait for an HTTP request */

int
stats_socket_open(struct stats_socket *s, bool waits)
{
	const struct advice_place place = {ADVICE_LISTEN_UNIX, s->path, NULL,
	    "self"};
	char hint[ADVICE_SIZE];

	s->fd = unix_listen(s->path);
	if (s->fd != -1) {
		unix_file_record(&s->file, s->path);
		s->logged_errno = 0;
		return 0;
	}
	if (errno != s->logged_errno)
		log_error("'--stats': %s on %s: %s: %s",
		    waits && errno == ENOENT ? "waits to listen"
					     : "cannot listen",
		    s->path, errno_advice(hint, errno, &place) ? hint : "bind",
		    errno_name(errno));
	s->logged_errno = errno;
	return -1;
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

/* Returns the index of a process, or of a free entry for 0; or -1. */
static int
find_client(const struct stats_socket *s, pid_t pid)
{
	for (int i = 0; i < STATS_CLIENTS_MAX; i++)
		if (s->clients[i] == pid)
			return i;
	return -1;
}

int
stats_socket_pollfd(const struct stats_socket *s)
{
	return find_client(s, 0) == -1 ? -1 : s->fd;
}

void
stats_socket_exited(struct stats_socket *s, pid_t pid)
{
	int i = find_client(s, pid);

	if (i != -1)
		s->clients[i] = 0;
}

/*
 * Reads the request of an HTTP client. Returns false for a client that only
 * reads. All of the request is read, because close(2) with unread bytes would
 * reset the connection and discard the answer.
 */
static bool
stats_read_request(int client)
{
	struct pollfd ready = {.fd = client, .events = POLLIN};
	char text[4096];
	size_t used = 0;
	ssize_t n = 1;

	while (n > 0 && used < sizeof(text) - 1 &&
	    poll(&ready, 1, REQUEST_MS) == 1) {
		n = recv(client, text + used, sizeof(text) - 1 - used, 0);
		used += n > 0 ? (size_t)n : 0;
		text[used] = '\0';
		if (strstr(text, "\r\n\r\n"))
			break;
	}
	return used > 0;
}

/* Writes the metrics to a client, in a child, because a client may be slow. */
static _Noreturn void
answer_main(int client, const struct services *list, const struct cred *cred,
    pid_t server)
{
	FILE *out;

	proctitle_set("metrics", "", "");
	fd_close_except(&client, 1, INT_MAX);
	alarm(ANSWER_S);
	if (sandbox_drop_privileges(cred, KEEP_NONE) == -1 ||
	    sandbox_die_with_parent(server) == -1)
		_exit(1);
	out = fdopen(client, "w");
	if (!out)
		_exit(1);
	if (stats_read_request(client))
		fputs("HTTP/1.0 200 OK\r\nContent-Type: text/plain; "
		      "version=0.0.4; charset=utf-8\r\n\r\n",
		    out);
	stats_print_metrics(out, list);
	_exit(fflush(out) == 0 ? 0 : 1);
}

/*
 * EAGAIN of accept(2) means that the client has closed. Pauses after other
 * errors, because a client that could not be accepted is still in the queue.
 */
void
stats_socket_accept(struct stats_socket *s, const struct services *list,
    const struct cred *cred)
{
	int client = accept4(s->fd, NULL, NULL, SOCK_CLOEXEC);
	pid_t server = getpid(), pid = -1;

	if (client != -1)
		pid = fork();
	if (pid == 0)
		answer_main(client, list, cred, server);
	if (pid == -1 && (client != -1 || errno != EAGAIN)) {
		log_ratelimited("--stats: %s", strerror(errno));
		poll(NULL, 0, STATS_PAUSE_MS);
	}
	if (client != -1)
		close(client);
	if (pid > 0)
		s->clients[find_client(s, 0)] = pid;
}
