/* Looks up containers of podman, which has a service or only files. */

/*
 * Theory of operation
 *
 * podman starts a container and exits; conmon(8) stays as the parent of the
 * container. There are two directories of containers-storage.conf(5), here for
 * the driver overlay:
 * - GRAPHROOT/overlay-containers/containers.json has the number and the names
 *   of each container; volatile-containers.json of each that was started with
 *   --rm, as those of podman-systemd.unit(5) are, since podman 4.4.
 * - RUNROOT/overlay-containers/ID/userdata/pidfile has the number of its
 *   process, written by conmon at each start.
 */

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/array.h"
#include "base/clock.h"
#include "base/errname.h"
#include "base/text.h"
#include "container/api.h"
#include "container/json.h"
#include "container/look.h"
#include "container/podman.h"
#include "container/process.h"

#define ROOT_SIZE 1024
#define ID_SIZE   65
#define CONF_SIZE 65536

struct storage {
	char graph[ROOT_SIZE], run[ROOT_SIZE];
};

/* A search for a container in all lists. */
struct search {
	const char *name;
	char id[ID_SIZE];   /* of the container that was found last */
	const char *driver; /* that has it */
	bool by_name;
	unsigned n_ids;   /* that begin with the name */
	unsigned n_lists; /* that were read */
};

/* Copies the text of a line KEY = "TEXT" of a file, if there is one. */
static void
read_setting(const char *conf, const char *key, char *value)
{
	size_t length = strlen(key);

	for (const char *line = conf; line; line = strchr(line, '\n')) {
		line += *line == '\n';
		line += strspn(line, " \t");
		if (strncmp(line, key, length) != 0 ||
		    line[length + strspn(line + length, " \t")] != '=')
			continue;
		line += strcspn(line, "\"\n");
		if (*line == '"' && strcspn(line + 1, "\"\n") < ROOT_SIZE)
			snprintf(value, ROOT_SIZE, "%.*s",
			    (int)strcspn(line + 1, "\"\n"), line + 1);
	}
}

static void
read_conf(const char *path, struct storage *st)
{
	char *conf = malloc(CONF_SIZE);

	if (conf && process_read_file(AT_FDCWD, path, conf, CONF_SIZE) != -1) {
		read_setting(conf, "graphroot", st->graph);
		read_setting(conf, "runroot", st->run);
	}
	free(conf);
}

/* Returns $NAME, or HOME and a path below it. */
static void
user_dir(char *dir, size_t size, const char *name, const char *below)
{
	const char *value = getenv(name), *home = getenv("HOME");

	if (value && *value == '/')
		snprintf(dir, size, "%s", value);
	else
		snprintf(dir, size, "%s%s", home ? home : "", below);
}

static void
find_storage(struct storage *st)
{
	char dir[ROOT_SIZE / 2], conf[ROOT_SIZE];

	if (geteuid() == 0) {
		*st = (struct storage){"/var/lib/containers/storage",
		    "/run/containers/storage"};
		read_conf("/usr/share/containers/storage.conf", st);
		read_conf("/etc/containers/storage.conf", st);
		return;
	}
	user_dir(dir, sizeof(dir), "XDG_DATA_HOME", "/.local/share");
	snprintf(st->graph, ROOT_SIZE, "%s/containers/storage", dir);
	snprintf(st->run, ROOT_SIZE, "/run/user/%u/containers", geteuid());
	if (getenv("XDG_RUNTIME_DIR"))
		snprintf(st->run, ROOT_SIZE, "%s/containers",
		    getenv("XDG_RUNTIME_DIR"));
	user_dir(dir, sizeof(dir), "XDG_CONFIG_HOME", "/.config");
	snprintf(conf, sizeof(conf), "%s/containers/storage.conf", dir);
	read_conf(conf, st);
}

static bool
has_name(struct json container, const char *name, char *buf)
{
	struct json names, item = {NULL, NULL};

	if (!json_member(container, "names", &names))
		return false;
	while (json_next(names, &item))
		if (json_string(item, buf, LOOK_NAME_SIZE) &&
		    (!name || strcmp(buf, name) == 0))
			return true;
	return false;
}

static bool
get_id(struct json container, char *id)
{
	struct json value;

	return json_member(container, "id", &value) &&
	    json_string(value, id, ID_SIZE) && strlen(id) == ID_SIZE - 1 &&
	    strspn(id, "0123456789abcdef") == ID_SIZE - 1;
}

/* A name goes before the start of a number. */
static void
search_list(struct search *search, const char *driver, struct json list)
{
	struct json item = {NULL, NULL};
	char name[LOOK_NAME_SIZE], id[ID_SIZE];

	while (!search->by_name && json_next(list, &item)) {
		if (!get_id(item, id))
			continue;
		search->by_name = has_name(item, search->name, name);
		if (!search->by_name &&
		    strncmp(id, search->name, strlen(search->name)) != 0)
			continue;
		search->n_ids += !search->by_name;
		memcpy(search->id, id, sizeof(id));
		search->driver = driver;
	}
}

/* Returns the process that conmon has written, or 0. */
static int
read_pid(const struct storage *st, const char *driver, const char *id)
{
	char path[ROOT_SIZE + 128], buf[32];
	uint32_t pid;

	snprintf(path, sizeof(path), "%s/%s-containers/%s/userdata/pidfile",
	    st->run, driver, id);
	if (process_read_file(AT_FDCWD, path, buf, sizeof(buf)) == -1)
		return 0;
	buf[strcspn(buf, "\n")] = '\0';
	return parse_uint(buf, 1, INT_MAX, &pid) ? (int)pid : 0;
}

static void
add_running(struct sighting *s, const struct storage *st, const char *driver,
    struct json list)
{
	struct json item = {NULL, NULL};
	char name[LOOK_NAME_SIZE], id[ID_SIZE];

	while (json_next(list, &item))
		if (get_id(item, id) && has_name(item, NULL, name) &&
		    read_pid(st, driver, id))
			look_add_name(s, name);
}

/*
 * Searches a file. Adds the names that run to s->why if no container was found.
 * Returns false with s->why if the file exists, but cannot be read.
 */
static bool
search_file(struct search *search, const struct storage *st, const char *driver,
    const char *file, struct sighting *s, char *buf)
{
	char path[ROOT_SIZE + 64];
	struct json list;
	long length;

	snprintf(path, sizeof(path), "%s/%s-containers/%s", st->graph, driver,
	    file);
	length = process_read_file(AT_FDCWD, path, buf, API_ANSWER_SIZE);
	if (length == -1 && errno == ENOENT)
		return true;
	if (length == -1)
		return !look_absent(s, "%s: %s", path, errno_name(errno));
	if (!json_parse(&list, buf, (size_t)length))
		return !look_absent(s, "%s: no JSON", path);
	search->n_lists++;
	search_list(search, driver, list);
	if (!search->driver)
		add_running(s, st, driver, list);
	return true;
}

/* Fills in *s with the container that the search has found. */
static bool
take_found(const struct search *search, const struct storage *st,
    struct sighting *s)
{
	if (!search->by_name && search->n_ids > 1)
		return look_absent(s,
		    "several containers have a number that begins so");
	s->why[0] = '\0';
	snprintf(s->id, sizeof(s->id), "%.12s", search->id);
	snprintf(s->process.mark, sizeof(s->process.mark), "%s", search->id);
	s->process.pid = read_pid(st, search->driver, search->id);
	return s->process.pid != 0 ||
	    look_absent(s, "container %s does not run", s->id);
}

static bool
look_in_files(const char *name, struct sighting *s, char *buf)
{
	static const char *const drivers[] = {"overlay", "vfs", "btrfs", "zfs"};
	static const char *const files[] = {"containers.json",
	    "volatile-containers.json"};
	struct search search = {.name = name};
	struct storage st;

	find_storage(&st);
	look_absent(s, "no such container; these run:");
	for (size_t i = 0; i < ARRAY_LEN(drivers) * ARRAY_LEN(files); i++)
		if (!search_file(&search, &st, drivers[i / ARRAY_LEN(files)],
			files[i % ARRAY_LEN(files)], s, buf))
			return false;
	if (search.driver)
		return take_found(&search, &st, s);
	return search.n_lists ||
	    look_absent(s, "no containers in %s, and no service", st.graph);
}

bool
podman_look(const char *name, struct sighting *s, msec deadline)
{
	char path[API_PATH_SIZE], *buf;
	bool answered;

	if (api_socket(RUNTIME_PODMAN, path) && access(path, F_OK) == 0 &&
	    api_look(RUNTIME_PODMAN, name, s, deadline) && s->id[0])
		return true;
	buf = malloc(API_ANSWER_SIZE);
	if (!buf)
		return !look_absent(s, "out of memory");
	*s = (struct sighting){.why = ""};
	answered = look_in_files(name, s, buf);
	free(buf);
	return answered;
}
