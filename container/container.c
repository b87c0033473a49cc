/* Containers, units and machines by name: their processes, now and later. */

/*
 * Theory of operation
 *
 * There is one struct container for each name, however many maps have it. The
 * server has one tracker for each runtime, which reports changes. A program
 * that is no server looks a name up when it needs the process.
 *
 * The server believes a report only as far as it can check it: the process must
 * have begun at the reported time and be in the reported container, which
 * process_open() compares each time.
 */

#include <errno.h>
#include <poll.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/types.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/errname.h"
#include "base/log.h"
#include "container/container.h"
#include "container/look.h"
#include "container/process.h"
#include "container/tracker.h"

#define FIRST_REPORT_MS (LOOK_MS + 1000)
#define RESTART_MS      1000 /* between two starts of a tracker */

struct container {
	struct container *next;
	unsigned references;
	enum runtime runtime;
	struct tracker_name key;
	struct sighting sighting;
	bool known; /* the sighting was filled in */
};

static struct container *containers;
static uint32_t last_number;
static struct {
	int epoll; /* of the channels; 0: none yet; -1: container_stop() */
	bool no_sandbox;
	bool changed; /* a report was read, see container_read() */
	struct {
		int channel; /* 0: no tracker */
		msec started_at;
		msec active_at; /* the last report, or name sent */
	} of[RUNTIMES];
} trackers;

static bool
is_used(enum runtime runtime)
{
	for (const struct container *c = containers; c; c = c->next)
		if (c->runtime == runtime)
			return true;
	return false;
}

static void
stop_tracker(enum runtime runtime)
{
	if (trackers.of[runtime].channel)
		close(trackers.of[runtime].channel);
	trackers.of[runtime].channel = 0;
}

/* Writes the names of the runtime, if names is not NULL. Returns how many. */
static size_t
list_names(enum runtime runtime, struct tracker_name *names)
{
	size_t n = 0;

	for (const struct container *c = containers; c; c = c->next)
		if (c->runtime == runtime) {
			if (names)
				names[n] = c->key;
			n++;
		}
	return n;
}

/* Starts a tracker, which has all names of its runtime. */
static int
start_tracker(enum runtime runtime)
{
	struct epoll_event ev = {.events = EPOLLIN, .data.u32 = runtime};
	size_t n = list_names(runtime, NULL);
	struct tracker_name *names = n ? calloc(n, sizeof(*names)) : NULL;
	int channel, result = -1;

	trackers.of[runtime].started_at = now_ms();
	trackers.of[runtime].active_at = now_ms();
	list_names(runtime, names);
	if (names)
		result = tracker_spawn(runtime, names, n, trackers.no_sandbox,
		    &channel);
	free(names);
	if (result == -1)
		return -1;
	trackers.of[runtime].channel = channel;
	result = epoll_ctl(trackers.epoll, EPOLL_CTL_ADD, channel, &ev);
	if (result == -1)
		stop_tracker(runtime);
	return result;
}

/*
 * Sends a name to the tracker, if one runs. A tracker that does not take it is
 * replaced, so that no name gets lost.
 */
static void
send_name(enum runtime runtime, const struct tracker_name *key)
{
	int channel = trackers.of[runtime].channel;

	if (!channel)
		return;
	trackers.of[runtime].active_at = now_ms();
	if (send(channel, key, sizeof(*key), MSG_NOSIGNAL | MSG_DONTWAIT) != -1)
		return;
	stop_tracker(runtime);
	trackers.of[runtime].started_at = now_ms() - RESTART_MS;
}

struct container *
container_get(enum runtime runtime, const char *name)
{
	struct container *c = containers;

	while (c && (c->runtime != runtime || strcmp(c->key.name, name) != 0))
		c = c->next;
	if (c) {
		c->references++;
		return c;
	}
	c = calloc(1, sizeof(*c));
	if (!c)
		return NULL;
	c->references = 1;
	c->runtime = runtime;
	c->key.number = ++last_number;
	snprintf(c->key.name, sizeof(c->key.name), "%s", name);
	c->next = containers;
	containers = c;
	send_name(runtime, &c->key);
	return c;
}

void
container_put(struct container *c)
{
	struct container **at = &containers;

	if (!c || --c->references)
		return;
	while (*at != c)
		at = &(*at)->next;
	*at = c->next;
	c->key.name[0] = '\0';
	if (!is_used(c->runtime))
		stop_tracker(c->runtime);
	else
		send_name(c->runtime, &c->key);
	free(c);
}

/* Records a report, whose texts can lack a NUL. */
static bool
record(const struct tracker_report *message)
{
	char text[CONTAINER_TEXT_SIZE];
	struct container *c = containers;
	struct sighting *s;

	while (c && c->key.number != message->number)
		c = c->next;
	if (!c)
		return false;
	s = &c->sighting;
	*s = message->sighting;
	s->process.mark[sizeof(s->process.mark) - 1] = '\0';
	s->id[sizeof(s->id) - 1] = '\0';
	s->why[sizeof(s->why) - 1] = '\0';
	c->known = true;
	if (s->process.pid)
		log_info("%s", container_describe(c, text));
	return true;
}

/* Reads all reports of a tracker. Returns true if there were any. */
static bool
read_reports(enum runtime runtime)
{
	struct tracker_report message;
	bool changed = false;
	ssize_t n;

	while ((n = recv(trackers.of[runtime].channel, &message,
		    sizeof(message), MSG_DONTWAIT)) == sizeof(message)) {
		trackers.of[runtime].active_at = now_ms();
		changed |= record(&message);
	}
	if (n == -1 && (errno == EAGAIN || errno == EINTR))
		return changed;
	log_error("the tracker of %s: has ended; it is started anew",
	    look_word(runtime));
	stop_tracker(runtime);
	return changed;
}

static void
read_channels(void)
{
	struct epoll_event ev[RUNTIMES];
	int n = epoll_wait(trackers.epoll, ev, RUNTIMES, 0);

	for (int i = 0; i < n; i++)
		trackers.changed |= read_reports((enum runtime)ev[i].data.u32);
}

bool
container_read(void)
{
	bool changed;

	read_channels();
	changed = trackers.changed;
	trackers.changed = false;
	return changed;
}

msec
container_retry(void)
{
	msec next = NEVER;

	for (unsigned i = 0; i < RUNTIMES && trackers.epoll > 0; i++) {
		msec at = trackers.of[i].started_at + RESTART_MS;

		if (trackers.of[i].channel || !is_used((enum runtime)i))
			continue;
		if (now_ms() >= at)
			start_tracker((enum runtime)i);
		if (!trackers.of[i].channel)
			next = msec_min(next,
			    trackers.of[i].started_at + RESTART_MS);
	}
	return next;
}

int
container_track(bool no_sandbox)
{
	trackers.no_sandbox = no_sandbox;
	trackers.epoll = epoll_create1(EPOLL_CLOEXEC);
	if (trackers.epoll == -1)
		return -1;
	for (unsigned i = 0; i < RUNTIMES; i++)
		trackers.of[i].started_at = now_ms() - RESTART_MS;
	container_retry();
	return 0;
}

int
container_pollfd(void)
{
	return trackers.epoll ? trackers.epoll : -1;
}

void
container_stop(void)
{
	for (unsigned i = 0; i < RUNTIMES; i++)
		stop_tracker((enum runtime)i);
	if (trackers.epoll > 0)
		close(trackers.epoll);
	trackers.epoll = -1;
}

/*
 * Waits for the first report about a container, but not for a tracker that has
 * ended, nor for each name anew if a tracker reports nothing.
 */
static void
wait_known(struct container *c)
{
	struct pollfd watched = {.fd = trackers.epoll, .events = POLLIN};
	msec deadline;

	container_retry();
	while (!c->known && trackers.of[c->runtime].channel) {
		deadline = trackers.of[c->runtime].active_at + FIRST_REPORT_MS;
		if (now_ms() >= deadline)
			break;
		poll(&watched, 1, poll_timeout(deadline));
		read_channels();
	}
	if (!c->known)
		look_absent(&c->sighting,
		    trackers.epoll == -1 ? "--pin has ended its tracker"
					 : "no answer in time");
	c->known = true;
}

int
container_open(struct container *c)
{
	int dir = -1;

	if (!c->known && trackers.epoll)
		wait_known(c);
	if (c->known)
		dir = process_open(&c->sighting.process);
	if (dir == -1 && !trackers.epoll) {
		look(c->runtime, c->key.name, &c->sighting, now_ms() + LOOK_MS);
		c->known = true;
		dir = process_open(&c->sighting.process);
	}
	if (!errno_is_shortage(errno))
		errno = ESRCH;
	return dir;
}

const char *
container_why(const struct container *c)
{
	return c->sighting.process.pid || !c->sighting.why[0]
	    ? "its process has ended"
	    : c->sighting.why;
}

const char *
container_describe(const struct container *c, char *buf)
{
	const struct sighting *s = &c->sighting;

	*buf = '\0';
	if (s->process.pid)
		snprintf(buf, CONTAINER_TEXT_SIZE, "%s:%s is %s%sprocess %d",
		    look_word(c->runtime), c->key.name, s->id,
		    s->id[0] ? ", " : "", s->process.pid);
	return buf;
}
