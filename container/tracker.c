/* A process that follows the containers of one runtime for the server. */

/*
 * Theory of operation
 *
 * The tracker waits for a runtime in place of the server. It looks all names up
 * - when the runtime's stream of events has bytes, which need not be read;
 * - when a process that it reported has exited, by a pidfd;
 * - each second, where there is no stream: of podman's files always, of units
 *   and machines only if one of them does not run;
 * - after a second, if the runtime did not answer;
 * - each ten seconds, where there is a stream, while one of them does not run,
 *   because the stream may have lost the event.
 * A process that still runs is not given up because its runtime does not
 * answer.
 *
 * The tracker has the user of the server, because the sockets and files of the
 * runtimes are for that user, but no capabilities, and a filter of system calls
 * that allows to open files for reading only, and no socket but UNIX ones.
 */

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/types.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/fd.h"
#include "base/proctitle.h"
#include "base/sandbox.h"
#include "base/seccomp.h"
#include "container/look.h"
#include "container/process.h"
#include "container/tracker.h"

#define LOOK_AGAIN_MS   1000
#define LOOK_PAUSE_MS   200   /* between two looks, however many events */
#define LOOK_ABSENT_MS  10000 /* with a stream: an event may have been lost */
#define STREAM_AGAIN_MS 60000 /* where the runtime kept the tracker waiting */

struct tracked {
	struct tracker_name key;
	struct sighting last; /* as reported */
	bool reported;
	int pidfd; /* of the process; -1: none */
};

static struct tracker {
	enum runtime runtime;
	int channel, stream; /* of events; -1: none */
	struct tracked *names;
	struct pollfd *watched; /* channel, stream, pidfd of each name */
	size_t n_names;
	msec looked_at, look_at;
	msec stream_at; /* when to ask for a stream again */
} tracker;

static bool
same_sighting(const struct sighting *a, const struct sighting *b)
{
	return a->process.pid == b->process.pid &&
	    a->process.start == b->process.start &&
	    strcmp(a->process.mark, b->process.mark) == 0 &&
	    strcmp(a->id, b->id) == 0 && strcmp(a->why, b->why) == 0;
}

static void
close_pidfd(struct tracked *t)
{
	if (t->pidfd != -1)
		close(t->pidfd);
	t->pidfd = -1;
}

static bool
has_exited(const struct tracked *t)
{
	struct pollfd watched = {.fd = t->pidfd, .events = POLLIN};

	return t->pidfd == -1 || poll(&watched, 1, 0) != 0;
}

/*
 * Opens the pidfd. Returns false if the process has exited meanwhile, also if
 * it is still a zombie.
 */
static bool
watch_process(struct tracked *t, struct process *p)
{
	close_pidfd(t);
	t->pidfd = (int)syscall(SYS_pidfd_open, p->pid, 0);
	if (process_identify(p) == 0 && (t->pidfd == -1 || !has_exited(t)))
		return true;
	close_pidfd(t);
	return false;
}

static void
report(struct tracked *t, const struct sighting *s)
{
	struct tracker_report message = {.number = t->key.number};

	if (t->reported && same_sighting(&t->last, s))
		return;
	t->last = *s;
	t->reported = true;
	message.sighting = *s;
	if (send(tracker.channel, &message, sizeof(message), MSG_NOSIGNAL) ==
	    -1)
		_exit(0);
}

/* Looks one name up. Returns false if the runtime did not answer. */
static bool
look_name_up(struct tracked *t)
{
	struct sighting s;
	bool answered =
	    look(tracker.runtime, t->key.name, &s, now_ms() + LOOK_MS);

	if (!answered && t->last.process.pid && !has_exited(t))
		return false;
	if (!s.process.pid) {
		close_pidfd(t);
	} else if (s.process.pid != t->last.process.pid ||
	    s.process.start != t->last.process.start || t->pidfd == -1) {
		if (!watch_process(t, &s.process)) {
			look_absent(&s, "its process has ended");
			answered = false;
		}
	}
	report(t, &s);
	return answered;
}

/* Moves a name behind all others. */
static void
move_back(size_t i)
{
	struct tracked t = tracker.names[i];
	size_t last = tracker.n_names - 1;

	memmove(&tracker.names[i], &tracker.names[i + 1],
	    (last - i) * sizeof(t));
	tracker.names[last] = t;
}

/*
 * Looks all names up, but asks a runtime no more that has kept the tracker
 * waiting. Because the runtime may hang for one container alone, the others go
 * before it the next time. Returns false if the runtime did not answer.
 */
static bool
look_all_up(void)
{
	struct sighting none = {.why = ""};
	size_t n = tracker.n_names, hangs = n;
	bool answered = true;

	look_absent(&none, "no answer in time");
	for (size_t i = 0; i < n; i++) {
		struct tracked *t = &tracker.names[i];

		tracker.looked_at = now_ms();
		if (hangs == n)
			answered &= look_name_up(t);
		else if (!t->reported)
			report(t, &none);
		if (now_ms() - tracker.looked_at >= LOOK_MS)
			hangs = i;
	}
	if (hangs != n)
		move_back(hangs);
	tracker.looked_at = now_ms();
	return answered;
}

/* Returns when to look again after the runtime has answered, or NEVER. */
static msec
next_look(void)
{
	bool files = tracker.runtime == RUNTIME_UNIT ||
	    tracker.runtime == RUNTIME_MACHINE;

	if (tracker.stream == -1 && !files)
		return now_ms() + LOOK_AGAIN_MS;
	for (size_t i = 0; i < tracker.n_names; i++)
		if (tracker.names[i].pidfd == -1)
			return now_ms() +
			    (files ? LOOK_AGAIN_MS : LOOK_ABSENT_MS);
	return NEVER;
}

/* Opens the stream, unless that was tried just now. */
static void
open_stream(void)
{
	msec began = now_ms();
	bool waited;

	if (began < tracker.stream_at)
		return;
	tracker.stream = look_events(tracker.runtime, began + LOOK_MS);
	waited = now_ms() >= began + LOOK_MS;
	tracker.stream_at =
	    now_ms() + (waited ? STREAM_AGAIN_MS : LOOK_AGAIN_MS);
}

/*
 * Looks again after the stream has begun, because of changes before; and once
 * more, because the runtime may answer before it begins to collect events.
 */
static void
run_due_look(void)
{
	bool answered = look_all_up();

	if (answered && tracker.stream == -1 && tracker.n_names) {
		open_stream();
		if (tracker.stream != -1) {
			look_all_up();
			answered = false;
		}
	}
	tracker.look_at = answered ? next_look() : now_ms() + LOOK_AGAIN_MS;
}

static void
look_soon(void)
{
	msec at = tracker.looked_at + LOOK_PAUSE_MS;

	tracker.look_at = msec_min(tracker.look_at, at);
}

static void
remove_name(uint32_t number)
{
	for (size_t i = 0; i < tracker.n_names; i++)
		if (tracker.names[i].key.number == number) {
			close_pidfd(&tracker.names[i]);
			tracker.names[i] = tracker.names[--tracker.n_names];
			return;
		}
}

static void
add_name(const struct tracker_name *key)
{
	size_t n = tracker.n_names + 1;
	struct tracked *names = realloc(tracker.names, n * sizeof(*names));
	struct pollfd *watched;

	if (!names)
		_exit(1);
	tracker.names = names;
	watched = realloc(tracker.watched, (n + 2) * sizeof(*watched));
	if (!watched)
		_exit(1);
	tracker.watched = watched;
	names[n - 1] = (struct tracked){.key = *key, .pidfd = -1};
	tracker.n_names = n;
	tracker.look_at = 0;
}

/* Reads all datagrams of the server. Exits when the channel was closed. */
static void
read_names(void)
{
	struct tracker_name key;
	ssize_t n;

	while ((n = recv(tracker.channel, &key, sizeof(key), MSG_DONTWAIT)) ==
	    sizeof(key))
		if (key.name[0])
			add_name(&key);
		else
			remove_name(key.number);
	if (n != -1 || (errno != EAGAIN && errno != EINTR))
		_exit(0);
}

static void
read_events(void)
{
	char buf[16384];

	if (recv(tracker.stream, buf, sizeof(buf), 0) <= 0) {
		close(tracker.stream);
		tracker.stream = -1;
	}
	look_soon();
}

static void
handle_exits(size_t n)
{
	struct sighting ended = {.why = ""};

	look_absent(&ended, "its process has ended");
	for (size_t i = 0; i < n; i++)
		if (tracker.watched[i + 2].revents) {
			close_pidfd(&tracker.names[i]);
			report(&tracker.names[i], &ended);
			look_soon();
		}
}

/*
 * Does not watch the stream while a look is due, so that an endless stream of
 * events keeps neither this process busy nor the names waiting.
 */
static void
wait_for_events(void)
{
	struct pollfd *watched = tracker.watched;
	size_t n = tracker.n_names;
	bool soon = tracker.look_at <= tracker.looked_at + LOOK_PAUSE_MS;

	watched[0] = (struct pollfd){.fd = tracker.channel, .events = POLLIN};
	watched[1] =
	    (struct pollfd){.fd = soon ? -1 : tracker.stream, .events = POLLIN};
	for (size_t i = 0; i < n; i++)
		watched[i + 2] = (struct pollfd){.fd = tracker.names[i].pidfd,
		    .events = POLLIN};
	if (poll(watched, n + 2, poll_timeout(tracker.look_at)) <= 0)
		return;
	handle_exits(n);
	if (watched[1].revents)
		read_events();
	if (watched[0].revents)
		read_names();
}

/* Leaves the tracker the channel alone, and confines it. */
static int
confine(int channel, pid_t parent, bool no_sandbox)
{
	int null = open("/dev/null", O_RDWR | O_CLOEXEC);

	if (null == -1)
		return -1;
	for (int fd = 0; fd < 3; fd++)
		if (dup2(null, fd) == -1)
			return -1;
	fd_close_except(&channel, 1, INT_MAX);
	if (sandbox_die_with_parent(parent) == -1 ||
	    sandbox_set_capabilities(0) == -1)
		return -1;
	return no_sandbox ? 0 : sandbox_seccomp(SANDBOX_TRACKER);
}

static _Noreturn void
tracker_main(const struct tracker_name *names, size_t n)
{
	tracker.stream = -1;
	for (size_t i = 0; i < n; i++)
		add_name(&names[i]);
	for (;;) {
		if (now_ms() >= tracker.look_at)
			run_due_look();
		wait_for_events();
	}
}

int
tracker_spawn(enum runtime runtime, const struct tracker_name *names, size_t n,
    bool no_sandbox, int *channel)
{
	pid_t parent = getpid(), pid;
	int pair[2];

	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) == -1)
		return -1;
	pid = fork();
	if (pid == 0) {
		proctitle_set(look_word(runtime), "", "");
		if (confine(pair[1], parent, no_sandbox) == -1)
			_exit(1);
		tracker.runtime = runtime;
		tracker.channel = pair[1];
		tracker_main(names, n);
	}
	close_keep_errno(pair[1]);
	if (pid == -1)
		return close_keep_errno(pair[0]);
	*channel = pair[0];
	return 0;
}
