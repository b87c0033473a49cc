/* Answers one reader of --stats or --status, in a process of its own. */

/*
 * Theory of operation
 *
 * The server forks a process for each reader, because a reader may be slow or
 * hostile. The process has a copy of the list of services, and shares the
 * scoreboard. It drops all rights before it reads the request, and is killed
 * after ANSWER_S. A stranger, who reads --stats over TCP, is answered by
 * stranger.c.
 *
 * Only a process that may answer with a table keeps the channels of mappers,
 * and asks them for what is open. There is one such process at a time, so that
 * no other process receives the replies. The rights of the socket admit root
 * and the owner of the server as such readers.
 */

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
#include "base/fd.h"
#include "base/proctitle.h"
#include "base/sandbox.h"
#include "base/seccomp.h"
#include "config/config.h"
#include "server/answer.h"
#include "server/mapper_proc.h"
#include "server/service.h"
#include "server/service_row.h"
#include "server/stats.h"
#include "server/stranger.h"
#include "server/table.h"

#define ANSWER_S   3    /* until the process is killed */
#define MAPPERS_MS 1000 /* for the replies of all mappers */
#define REQUEST_MS 250  /* to wait for each part of an optional request */

/* Returns the index of a process, or of a free entry for 0; or -1. */
static int
find_answer(const struct answers *a, pid_t pid)
{
	for (int i = 0; i < a->max; i++)
		if (a->pids[i] == pid)
			return i;
	return -1;
}

bool
answers_full(const struct answers *a)
{
	return find_answer(a, 0) == -1;
}

bool
answers_exited(struct answers *a, pid_t pid)
{
	int i = find_answer(a, pid);

	if (i != -1)
		a->pids[i] = 0;
	return i != -1;
}

/*
 * Reads all of it, because close(2) with unread bytes would reset the
 * connection and discard the answer.
 */
size_t
answer_read_request(int client, char *text, int timeout)
{
	struct pollfd ready = {.fd = client, .events = POLLIN};
	size_t used = 0;
	ssize_t n = 1;

	*text = '\0';
	while (n > 0 && used < ANSWER_REQUEST_SIZE - 1 &&
	    poll(&ready, 1, timeout) == 1) {
		n = recv(client, text + used, ANSWER_REQUEST_SIZE - 1 - used,
		    0);
		used += n > 0 ? (size_t)n : 0;
		text[used] = '\0';
		if (strstr(text, "\r\n\r\n"))
			break;
	}
	return used;
}

/* For the reason in answer_read_request(). */
void
answer_discard_rest(int client)
{
	struct pollfd ready = {.fd = client, .events = POLLIN};
	char text[ANSWER_REQUEST_SIZE];

	shutdown(client, SHUT_WR);
	while (poll(&ready, 1, REQUEST_MS) == 1 &&
	    recv(client, text, sizeof(text), 0) > 0)
		;
}

void
answer_print_header(FILE *out, const char *status)
{
	fprintf(out,
	    "HTTP/1.0 %s\r\nContent-Type: text/plain; %scharset=utf-8\r\n"
	    "Connection: close\r\n\r\n",
	    status, status[0] == '2' ? "version=0.0.4; " : "");
}

/* Answers "MAPS", or "OPEN NAME", which view/ sends. Returns false for others. */
static bool
answer_table(FILE *out, char *text, const struct services *list,
    struct asker *asker)
{
	text[strcspn(text, "\r\n")] = '\0';
	if (strcmp(text, "MAPS") == 0)
		table_print_maps(out, list, asker);
	else if (strncmp(text, "OPEN ", 5) == 0)
		table_print_open(out, list, text + 5, asker);
	else
		return false;
	return true;
}

static void
answer_reader(FILE *out, int client, enum answer_kind kind,
    const struct services *list, struct asker *asker)
{
	char text[ANSWER_REQUEST_SIZE];
	size_t n = answer_read_request(client, text, REQUEST_MS);

	if (kind == ANSWER_STATUS && answer_table(out, text, list, asker))
		return;
	if (n)
		answer_print_header(out, "200 OK");
	stats_print(out, list);
}

/* Closes all but the client and, for a table, the channels of mappers. */
static int
keep_reader_fds(int client, bool channels)
{
	size_t n = 1;
	int *keep;

	for (struct mapper_proc *m = mapper_list(); m; m = m->next)
		n++;
	keep = calloc(n, sizeof(*keep));
	if (!keep)
		return -1;
	n = 0;
	if (client != -1)
		keep[n++] = client;
	for (struct mapper_proc *m = mapper_list(); m && channels; m = m->next)
		keep[n++] = m->channel;
	fd_close_except(keep, n, INT_MAX);
	free(keep);
	return 0;
}

int
answer_confine(const struct cred *cred, pid_t server, bool sandbox)
{
	if (sandbox_drop_privileges(cred, KEEP_NONE) == -1 ||
	    sandbox_die_with_parent(server) == -1)
		return -1;
	sandbox_set_rlimits(false);
	return sandbox ? sandbox_seccomp(SANDBOX_ANSWER) : 0;
}

static _Noreturn void
answer_main(enum answer_kind kind, int client, const struct services *list,
    const struct config *conf, pid_t server)
{
	char buffer[16384]; /* so that stdio(3) allocates nothing */
	struct asker asker = {
	    .deadline = now_ms() + MAPPERS_MS,
	    .token = (uint32_t)getpid() << 12,
	    .may_ask = kind == ANSWER_STATUS || kind == ANSWER_LOG,
	};
	FILE *out = NULL;

	alarm(ANSWER_S);
	if (keep_reader_fds(client, asker.may_ask) == -1 ||
	    (client != -1 && !(out = fdopen(client, "w"))))
		_exit(1);
	if (kind == ANSWER_HTTP)
		stranger_exec(client, list, conf, server);
	proctitle_set(asker.may_ask ? "status" : "metrics", "", "");
	if (out)
		setvbuf(out, buffer, _IOFBF, sizeof(buffer));
	if (answer_confine(&conf->owner_cred, server, !conf->no_sandbox) == -1)
		_exit(1);
	if (!out) {
		table_log(list, &asker);
		_exit(0);
	}
	answer_reader(out, client, kind, list, &asker);
	if (fflush(out) != 0)
		_exit(1);
	answer_discard_rest(client);
	_exit(0);
}

int
answer_spawn(struct answers *a, enum answer_kind kind, int client,
    const struct services *list, const struct config *conf)
{
	pid_t server = getpid(), pid = fork();

	if (pid == 0)
		answer_main(kind, client, list, conf, server);
	if (pid == -1)
		return -1;
	a->pids[find_answer(a, 0)] = pid;
	return 0;
}
