/* Finds the socket of a server, sends a request and reads the answer. */

#include <dirent.h>
#include <errno.h>
#include <limits.h>
#include <poll.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/types.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/errname.h"
#include "base/fd.h"
#include "base/io.h"
#include "base/log.h"
#include "base/rundir.h"
#include "view/ask.h"

#define ANSWER_MAX (64 << 20) /* bytes */
#define ANSWER_MS  5000       /* to connect; then, for the whole answer */
#define PART_SIZE  65536
#define AT_ONCE    128 /* servers */

/* A search for sockets of servers in the runtime directories. */
struct search {
	struct view_sockets *sockets;
	bool denied; /* one is another user's */
	bool failed; /* there is no memory */
};

static bool
is_found(const struct view_sockets *found, const char *path)
{
	for (size_t i = 0; i < found->count; i++)
		if (strcmp(found->items[i].path, path) == 0)
			return true;
	return false;
}

static void
add_socket(struct search *s, const char *path)
{
	struct view_sockets *found = s->sockets;
	struct view_socket *items =
	    realloc(found->items, (found->count + 1) * sizeof(*items));

	s->failed |= !items;
	if (!items)
		return;
	found->items = items;
	snprintf(items[found->count++].path, PATH_MAX, "%s", path);
}

/* Notes a socket that a server listens on. The queue of one may be full. */
static void
try_socket(struct search *s, const char *path)
{
	int fd = io_connect_unix(path, now_ms());

	if (fd == -1 && errno != ETIMEDOUT) {
		s->denied |= errno == EACCES;
		return;
	}
	if (fd != -1)
		close(fd);
	if (!is_found(s->sockets, path))
		add_socket(s, path);
}

/* Calls `visit` for each file in dir whose name begins with `prefix`. */
static void
visit_directory(struct search *s, const char *dir, const char *prefix,
    void (*visit)(struct search *, const char *path))
{
	char path[PATH_MAX + NAME_MAX + 2];
	struct dirent *entry;
	DIR *stream = opendir(dir);

	if (!stream) {
		s->denied |= errno == EACCES;
		return;
	}
	while ((entry = readdir(stream)))
		if (strncmp(entry->d_name, prefix, strlen(prefix)) == 0) {
			snprintf(path, sizeof(path), "%s/%s", dir,
			    entry->d_name);
			visit(s, path);
		}
	closedir(stream);
}

static void
try_directory(struct search *s, const char *dir)
{
	visit_directory(s, dir, RUNDIR_SOCKET, try_socket);
}

/* Orders status.9 before status.10. */
static int
compare_sockets(const void *a, const void *b)
{
	const struct view_socket *first = a, *second = b;

	return strverscmp(first->path, second->path);
}

/* nsfwd@NAME.service has the directory nsfwd-NAME. */
int
view_find(struct view_sockets *found)
{
	struct search s = {.sockets = found};
	char dir[PATH_MAX];

	for (int i = 0; rundir_path(dir, sizeof(dir), i); i++)
		if (*dir)
			try_directory(&s, dir);
	visit_directory(&s, "/run", "nsfwd-", try_directory);
	if (geteuid() != 0)
		try_directory(&s, "/run/nsfwd");
	if (found->count)
		qsort(found->items, found->count, sizeof(*found->items),
		    compare_sockets);
	if (s.failed)
		log_error("out of memory");
	else if (!found->count)
		log_error(s.denied
			? "no server of this user runs; that of root needs root"
			: "no server runs, or it could make no socket (nsfwd "
			  "-v says why)");
	return found->count && !s.failed ? 0 : -1;
}

/* Returns the length of a UTF-8 character; 0 if it is none, or a control. */
static size_t
printable_length(const unsigned char *s)
{
	size_t n = *s >= 0xf0 ? 4 : *s >= 0xe0 ? 3 : *s >= 0xc2 ? 2 : 1;

	if (n == 1)
		return (*s >= 0x20 && *s < 0x7f) || *s == '\t' || *s == '\n';
	if (*s > 0xf4 || (*s == 0xc2 && s[1] < 0xa0))
		return 0;
	for (size_t i = 1; i < n; i++)
		if ((s[i] & 0xc0) != 0x80)
			return 0;
	return n;
}

static void
clean_text(char *text)
{
	size_t n;

	for (; *text; text += n) {
		n = printable_length((unsigned char *)text);
		if (!n) {
			*text = '?';
			n = 1;
		}
	}
}

static void
log_no_answer(const char *path)
{
	log_error("--status: %s: %s: %s", path,
	    errno == ECONNREFUSED || errno == ENOENT ? "no server listens there"
						     : "no answer",
	    errno_name(errno));
}

/* Returns the socket on which the answer comes, or -1 with errno. */
static int
send_request(const char *path, const char *request, msec deadline)
{
	int fd = io_connect_unix(path, deadline);

	if (fd != -1 &&
	    send(fd, request, strlen(request), MSG_NOSIGNAL) !=
		(ssize_t)strlen(request))
		return close_keep_errno(fd);
	return fd;
}

/* Receives a part of an answer. Returns 1; 0 at the end; or -1 with errno. */
static int
receive_part(struct view_socket *s, int fd)
{
	const bool full = s->length + 1 >= s->size;
	const size_t size = full ? 2 * s->size + PART_SIZE : s->size;
	char *more = full ? realloc(s->answer, size) : s->answer;
	ssize_t n;

	if (!more)
		return -1;
	s->answer = more;
	s->size = size;
	n = recv(fd, more + s->length, size - s->length - 1, 0);
	if (n == -1)
		return -1;
	s->length += (size_t)n;
	more[s->length] = '\0';
	return s->length > ANSWER_MAX ? fail_errno(EMSGSIZE) : n > 0;
}

/* Ends an answer, which is whole, or has failed with errno. */
static void
end_answer(struct view_socket *s, int fd, bool whole)
{
	if (whole) {
		clean_text(s->answer);
	} else {
		log_no_answer(s->path);
		free(s->answer);
		s->answer = NULL;
	}
	close(fd);
}

/*
 * Receives the answers of `left` sockets of fds in any order, because a server
 * soon drops a reader that does not read.
 */
static void
receive_answers(struct view_socket *sockets, struct pollfd *fds, size_t count,
    size_t left)
{
	msec deadline = now_ms() + ANSWER_MS;
	int n_ready, result;

	while (left) {
		n_ready = now_ms() < deadline
		    ? poll(fds, count, poll_timeout(deadline))
		    : 0;
		for (size_t i = 0; i < count; i++) {
			if (fds[i].fd == -1 || (n_ready > 0 && !fds[i].revents))
				continue;
			result = -1;
			if (n_ready > 0)
				result = receive_part(&sockets[i], fds[i].fd);
			else if (n_ready == 0)
				errno = ETIMEDOUT;
			if (result > 0)
				continue;
			end_answer(&sockets[i], fds[i].fd, result == 0);
			fds[i].fd = -1;
			left--;
		}
	}
}

/* Asks sockets until descriptors run out. Returns how many it asked. */
static size_t
ask_some(struct view_socket *sockets, size_t count, const char *request)
{
	msec deadline = now_ms() + ANSWER_MS;
	struct pollfd fds[AT_ONCE];
	size_t n = 0, left = 0;

	for (; n < count && n < AT_ONCE; n++) {
		sockets[n].answer = NULL;
		sockets[n].size = sockets[n].length = 0;
		fds[n].events = POLLIN;
		fds[n].fd = send_request(sockets[n].path, request, deadline);
		if (fds[n].fd == -1 && left && errno_is_shortage(errno))
			break;
		if (fds[n].fd == -1)
			log_no_answer(sockets[n].path);
		else
			left++;
	}
	receive_answers(sockets, fds, n, left);
	return n;
}

void
view_ask(struct view_socket *sockets, size_t count, const char *request)
{
	for (size_t i = 0; i < count;)
		i += ask_some(sockets + i, count - i, request);
}
