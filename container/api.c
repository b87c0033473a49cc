/* Asks Docker, or podman's service, by Docker's API. */

#include <errno.h>
#include <limits.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/errname.h"
#include "container/api.h"
#include "container/http.h"
#include "container/json.h"
#include "container/look.h"

#define MESSAGE_MAX 200 /* bytes of a runtime's message that are shown */

bool
api_socket(enum runtime runtime, char *path)
{
	bool docker = runtime == RUNTIME_DOCKER;
	const char *host = getenv(docker ? "DOCKER_HOST" : "CONTAINER_HOST");
	const char *dir = getenv("XDG_RUNTIME_DIR");
	const char *file = docker ? "docker.sock" : "podman/podman.sock";

	if (host && *host) {
		snprintf(path, API_PATH_SIZE, "%s", host + strlen("unix://"));
		return strncmp(host, "unix://", strlen("unix://")) == 0;
	}
	if (geteuid() != 0 && dir) {
		snprintf(path, API_PATH_SIZE, "%s/%s", dir, file);
		if (!docker || access(path, F_OK) == 0)
			return true;
	}
	snprintf(path, API_PATH_SIZE, "%s/%s", docker ? "/var/run" : "/run",
	    file);
	return true;
}

/* Records why the runtime gave no answer. Returns false. */
static bool
no_answer(struct sighting *s, const char *path, int err)
{
	if (err == EACCES || err == EPERM)
		return !look_absent(s,
		    "no right to %s: be root, or in its group", path);
	if (err == ENOENT || err == ECONNREFUSED || err == ENOTDIR)
		return !look_absent(s, "nothing listens on %s", path);
	return !look_absent(s, "%s: %s", path,
	    err == ETIMEDOUT      ? "no answer in time"
		: err == EMSGSIZE ? "the answer is too long"
		: err == EPROTO   ? "the answer is wrong, or cut"
				  : errno_name(err));
}

static bool
is_hex(const char *text)
{
	return strspn(text, "0123456789abcdef") == strlen(text);
}

/* Adds the names of the list that GET /containers/json has given. */
static void
add_names(struct sighting *s, const struct http_answer *a)
{
	struct json list, item = {NULL, NULL}, names;
	char name[LOOK_NAME_SIZE];

	if (a->status != 200 || !json_parse(&list, a->body, a->length))
		return;
	while (json_next(list, &item)) {
		struct json first = {NULL, NULL};

		if (json_member(item, "Names", &names) &&
		    json_next(names, &first) &&
		    json_string(first, name, sizeof(name)))
			look_add_name(s, name + (*name == '/'));
	}
}

static bool
wrong_answer(struct sighting *s)
{
	look_absent(s, "the answer has no number of a container or process");
	return false;
}

/* Reads the answer of GET /containers/NAME/json. */
static bool
read_container(struct sighting *s, const struct http_answer *a)
{
	struct json all, state, value;
	char id[128], status[32];
	uint32_t pid;

	if (!json_parse(&all, a->body, a->length) ||
	    !json_member(all, "Id", &value) ||
	    !json_string(value, id, sizeof(id)) || strlen(id) < 32 ||
	    !is_hex(id) || !json_member(all, "State", &state) ||
	    !json_member(state, "Pid", &value) ||
	    !json_uint(value, INT_MAX, &pid))
		return wrong_answer(s);
	snprintf(s->id, sizeof(s->id), "%.12s", id);
	snprintf(s->process.mark, sizeof(s->process.mark), "%s", id);
	s->process.pid = (int)pid;
	if (pid)
		return true;
	if (!json_member(state, "Status", &value) ||
	    !json_string(value, status, sizeof(status)))
		snprintf(status, sizeof(status), "it does not run");
	return look_absent(s, "container %s: %s", s->id, status);
}

/* Records the message of an error, such as that of an ambiguous number. */
static bool
read_error(struct sighting *s, const struct http_answer *a)
{
	char message[MESSAGE_MAX];
	struct json all, value;

	if (!json_parse(&all, a->body, a->length) ||
	    !json_member(all, "message", &value) ||
	    !json_string(value, message, sizeof(message)))
		snprintf(message, sizeof(message), "status %d", a->status);
	look_absent(s, "the runtime says: %s", message);
	return a->status < 500;
}

static bool
look_with_buffer(enum runtime runtime, const char *name, struct sighting *s,
    msec deadline, char *buf)
{
	char path[API_PATH_SIZE], target[LOOK_NAME_SIZE + 32];
	struct http_answer a;

	if (!api_socket(runtime, path))
		return look_absent(s, "$%s is not unix:///PATH",
		    runtime == RUNTIME_DOCKER ? "DOCKER_HOST"
					      : "CONTAINER_HOST");
	snprintf(target, sizeof(target), "/containers/%s/json", name);
	if (http_get(&a, path, target, buf, API_ANSWER_SIZE, deadline) == -1)
		return no_answer(s, path, errno);
	if (a.status == 200)
		return read_container(s, &a);
	if (a.status != 404)
		return read_error(s, &a);
	look_absent(s, "no such container; these run:");
	if (http_get(&a, path, "/containers/json", buf, API_ANSWER_SIZE,
		deadline) == 0)
		add_names(s, &a);
	return true;
}

bool
api_look(enum runtime runtime, const char *name, struct sighting *s,
    msec deadline)
{
	char *buf = malloc(API_ANSWER_SIZE);
	bool answered;

	if (!buf) {
		look_absent(s, "out of memory");
		return false;
	}
	answered = look_with_buffer(runtime, name, s, deadline, buf);
	free(buf);
	return answered;
}
