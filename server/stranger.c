/* Answers strangers who read --stats over TCP, in a program of its own. */

/*
 * Theory of operation
 *
 * A process that the server forks has its memory, but for the passwords: all
 * maps, and who else is there. A stranger's bytes are not read there. The
 * forked process prints the metrics into a memfd and executes this program
 * anew, with the client as descriptor 0, the memfd as 1, and no environment.
 * The new program drops its rights before it reads the request.
 */

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/types.h>
#include <unistd.h>

#include "base/errname.h"
#include "base/log.h"
#include "base/sandbox.h"
#include "base/sock.h"
#include "config/config.h"
#include "server/answer.h"
#include "server/stats.h"
#include "server/stranger.h"

#define CLIENT      STDIN_FILENO
#define PAGE        STDOUT_FILENO
#define TITLE       "nsfwd: metrics"
#define STRANGER_MS 2000 /* to wait for each part of the request */
#define FAILED_MS   1000 /* that one of ANSWERS_MAX is taken after a failure */

/* The memfd begins with this; the metrics follow. */
struct page {
	struct cred cred;
	pid_t server;
	bool sandbox;
	char text[];
};

/* Returns -1 with errno. */
static int
print_page(const struct page *page, const struct services *list)
{
	int fd = memfd_create("metrics", MFD_CLOEXEC);
	FILE *out = fd == -1 ? NULL : fdopen(fd, "w");

	if (!out)
		return -1;
	fwrite(page, offsetof(struct page, text), 1, out);
	stats_print(out, list);
	return fflush(out) == 0 && dup2(fd, PAGE) != -1 ? 0 : -1;
}

_Noreturn void
stranger_exec(int client, const struct services *list,
    const struct config *conf, pid_t server)
{
	char title[] = TITLE;
	char *args[] = {title, NULL}, *environment[] = {NULL};
	const struct page page = {
	    .cred = conf->owner_cred,
	    .server = server,
	    .sandbox = !conf->no_sandbox,
	};

	sandbox_keep_caps_over_exec();
	if (print_page(&page, list) == 0 && dup2(client, CLIENT) != -1)
		execve("/proc/self/exe", args, environment);
	log_error("--stats: cannot execute this program anew: %s",
	    errno_name(errno));
	poll(NULL, 0, FAILED_MS); /* because strangers could fill the log */
	_exit(1);
}

bool
stranger_is_title(const char *argv0)
{
	return strcmp(argv0, TITLE) == 0;
}

/* Returns the memfd and its length; or NULL. */
static const struct page *
map_page(size_t *length)
{
	const struct page *page;
	struct stat st;

	if (fstat(PAGE, &st) == -1 || st.st_size < (off_t)sizeof(*page))
		return NULL;
	*length = (size_t)st.st_size;
	page = mmap(NULL, *length, PROT_READ, MAP_PRIVATE, PAGE, 0);
	return page == MAP_FAILED ? NULL : page;
}

/* Names the process, because it would be "exe", and gives up all rights. */
static int
confine_stranger(const struct page *page)
{
	int name = open("/proc/self/comm", O_WRONLY | O_CLOEXEC);

	if (name != -1) {
		dprintf(name, "nsfwd");
		close(name);
	}
	return answer_confine(&page->cred, page->server, page->sandbox);
}

/* Returns the status of an HTTP request, and in *head if it is a HEAD. */
static const char *
http_status(const char *text, bool *head)
{
	const char *path = strchr(text, ' ');
	size_t length = path ? strcspn(path + 1, " \r\n") : 0;

	*head = strncmp(text, "HEAD ", 5) == 0;
	if (!path || !strstr(text, "\r\n\r\n") ||
	    strncmp(path + 1 + length, " HTTP/1.", 8) != 0)
		return "400 Bad Request";
	if (!*head && strncmp(text, "GET ", 4) != 0)
		return "405 Method Not Allowed\r\nAllow: GET, HEAD";
	length = strcspn(path + 1, "? ");
	return length == 8 && memcmp(path + 1, "/metrics", 8) == 0
	    ? "200 OK"
	    : "404 Not Found";
}

int
stranger_main(void)
{
	char text[ANSWER_REQUEST_SIZE];
	char buffer[16384]; /* so that stdio(3) allocates nothing */
	const char *status;
	const struct page *page;
	FILE *out = fdopen(CLIENT, "w");
	size_t length = 0;
	bool head;

	page = map_page(&length);
	if (!out || !page)
		return EXIT_FAILURE;
	setvbuf(out, buffer, _IOFBF, sizeof(buffer));
	sock_reset_on_close(CLIENT, false);
	if (confine_stranger(page) == -1)
		return EXIT_FAILURE;
	answer_read_request(CLIENT, text, STRANGER_MS);
	status = http_status(text, &head);
	answer_print_header(out, status);
	if (status[0] != '2')
		fprintf(out, "%.3s: GET /metrics\n", status);
	else if (!head)
		fwrite(page->text, length - offsetof(struct page, text), 1,
		    out);
	if (fflush(out) != 0)
		_exit(EXIT_FAILURE);
	answer_discard_rest(CLIENT);
	_exit(EXIT_SUCCESS);
}
