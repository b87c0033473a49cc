/* Looks up units of systemd and machines of systemd-machined(8). */

/*
 * Theory of operation
 *
 * A unit is a control group, a directory NAME.service that is in one of the
 * slices, which are directories, too. All three layouts are searched: that of
 * version 2, of version 1, and of both.
 *
 * The main process is the oldest one whose parent is not of the unit. Until it
 * executes the program of the unit, a process of systemd(1) may still be in the
 * network namespace of the host. It has a name in parentheses; from version 255
 * on, first the name of systemd and then that of systemd-executor, cut to 15
 * bytes. Such a process is passed over.
 */

#include <dirent.h>
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
#include "base/text.h"
#include "container/look.h"
#include "container/process.h"
#include "container/systemd.h"

#define GROUP_SIZE   (PROCESS_MARK_SIZE - 1)
#define SLICES_DEPTH 8
#define PROCS_SIZE   65536 /* bytes of a list of processes that are read */
#define PROCS_MAX    64    /* of which the main process is one */
#define FORKNOEXEC   0x40  /* PF_FORKNOEXEC of Linux: no program was executed */

struct candidate {
	int pid, parent;
	uint64_t start;
};

/*
 * Searches for the unit below root and group, a path of at most GROUP_SIZE
 * bytes, which it makes longer. Returns true if it is found.
 */
static bool
find_group(const char *root, char *group, const char *unit, int depth)
{
	char path[PATH_MAX];
	size_t length = strlen(group);
	struct dirent *entry;
	bool found = false;
	DIR *dir;

	if (length + strlen(unit) + 2 > GROUP_SIZE)
		return false;
	snprintf(group + length, GROUP_SIZE - length, "/%s", unit);
	snprintf(path, sizeof(path), "%s%s/cgroup.procs", root, group);
	if (access(path, F_OK) == 0)
		return true;
	group[length] = '\0';
	snprintf(path, sizeof(path), "%s%s", root, group);
	dir = depth < SLICES_DEPTH ? opendir(path) : NULL;
	while (dir && !found && (entry = readdir(dir))) {
		size_t n = strlen(entry->d_name);

		if (n < 6 || strcmp(entry->d_name + n - 6, ".slice") != 0 ||
		    strcmp(entry->d_name, "user.slice") == 0 ||
		    length + n + 2 > GROUP_SIZE)
			continue;
		snprintf(group + length, GROUP_SIZE - length, "/%s",
		    entry->d_name);
		found = find_group(root, group, unit, depth + 1);
		if (!found)
			group[length] = '\0';
	}
	if (dir)
		closedir(dir);
	return found;
}

/* Returns true if the process executes the program of its unit. */
static bool
runs_program(const char *stat)
{
	const char *name = strchr(stat, '(');

	return name && name[1] != '(' &&
	    strncmp(name, "(systemd-executo)", 17) != 0 &&
	    (strncmp(name, "(systemd)", 9) != 0 ||
		!(process_stat_field(stat, STAT_FLAGS) & FORKNOEXEC));
}

static bool
read_candidate(struct candidate *c, const char *digits)
{
	char path[32], buf[1024];
	uint32_t pid;

	if (!parse_uint(digits, 1, INT_MAX, &pid))
		return false;
	snprintf(path, sizeof(path), "/proc/%u/stat", pid);
	if (process_read_file(AT_FDCWD, path, buf, sizeof(buf)) == -1 ||
	    !runs_program(buf))
		return false;
	c->pid = (int)pid;
	c->parent = (int)process_stat_field(buf, STAT_PARENT);
	c->start = process_stat_field(buf, STAT_START);
	return c->start != 0;
}

/* Adds the processes of a control group. Returns their number. */
static size_t
read_procs(const char *group, struct candidate *list, size_t n)
{
	char path[PATH_MAX], buf[PROCS_SIZE], *rest = buf, *line;

	snprintf(path, sizeof(path), "%s/cgroup.procs", group);
	if (process_read_file(AT_FDCWD, path, buf, sizeof(buf)) == -1)
		return n;
	while (n < PROCS_MAX && (line = strsep(&rest, "\n")))
		n += read_candidate(&list[n], line);
	return n;
}

/* Adds the processes of the groups in a group, of a unit with Delegate=. */
static size_t
read_subgroups(const char *group, struct candidate *list)
{
	char path[PATH_MAX];
	DIR *dir = opendir(group);
	struct dirent *entry;
	size_t n = 0;

	while (dir && (entry = readdir(dir)))
		if (entry->d_type == DT_DIR && entry->d_name[0] != '.' &&
		    snprintf(path, sizeof(path), "%s/%s", group,
			entry->d_name) < (int)sizeof(path))
			n = read_procs(path, list, n);
	if (dir)
		closedir(dir);
	return n;
}

static bool
is_child(const struct candidate *list, size_t n, const struct candidate *c)
{
	for (size_t i = 0; i < n; i++)
		if (list[i].pid == c->parent)
			return true;
	return false;
}

static int
main_process(const char *group)
{
	struct candidate list[PROCS_MAX];
	const struct candidate *oldest = NULL;
	size_t n = read_procs(group, list, 0);

	if (!n)
		n = read_subgroups(group, list);
	for (size_t i = 0; i < n; i++)
		if (!is_child(list, n, &list[i]) &&
		    (!oldest || list[i].start < oldest->start))
			oldest = &list[i];
	return oldest ? oldest->pid : 0;
}

static bool
look_below(const char *root, const char *first, const char *unit,
    struct sighting *s)
{
	char group[GROUP_SIZE], path[PATH_MAX];

	snprintf(group, sizeof(group), "%s", first);
	if (!find_group(root, group, unit, 0))
		return false;
	snprintf(path, sizeof(path), "%s%s", root, group);
	s->process.pid = main_process(path);
	s->process.mark[0] = ':';
	snprintf(s->process.mark + 1, GROUP_SIZE, "%s", group);
	if (!s->process.pid)
		look_absent(s, "it has no process yet");
	return true;
}

bool
unit_look(const char *name, struct sighting *s)
{
	static const char *const roots[] = {"/sys/fs/cgroup",
	    "/sys/fs/cgroup/unified", "/sys/fs/cgroup/systemd"};
	char unit[LOOK_NAME_SIZE], own[96];
	size_t n = strlen(name);
	bool whole = n > 8 && strcmp(name + n - 8, ".service") == 0;

	whole |= n > 6 && strcmp(name + n - 6, ".scope") == 0;
	snprintf(unit, sizeof(unit), "%s%s", name, whole ? "" : ".service");
	snprintf(own, sizeof(own), "/user.slice/user-%u.slice/user@%u.service",
	    geteuid(), geteuid());
	for (size_t i = 0; i < ARRAY_LEN(roots); i++)
		if ((geteuid() != 0 && look_below(roots[i], own, unit, s)) ||
		    look_below(roots[i], "", unit, s))
			return true;
	return look_absent(s, "no unit %s runs (systemctl list-units)", unit);
}

/* Copies the text behind KEY= at the start of a line. */
static bool
read_key(const char *text, const char *key, char *value, size_t size)
{
	size_t length = strlen(key);

	for (; text; text = strchr(text, '\n')) {
		text += *text == '\n';
		if (strncmp(text, key, length) == 0)
			return snprintf(value, size, "%.*s",
				   (int)strcspn(text + length, "\n"),
				   text + length) < (int)size;
	}
	return false;
}

static void
add_machines(struct sighting *s)
{
	DIR *dir = opendir("/run/systemd/machines");
	struct dirent *entry;

	while (dir && (entry = readdir(dir)))
		if (entry->d_name[0] != '.' && entry->d_type == DT_REG)
			look_add_name(s, entry->d_name);
	if (dir)
		closedir(dir);
}

/* The leader is in the control group of its unit, or in one below. */
bool
machine_look(const char *name, struct sighting *s)
{
	char path[LOOK_NAME_SIZE + 32], buf[8192], digits[16], unit[256];
	uint32_t pid;

	snprintf(path, sizeof(path), "/run/systemd/machines/%s", name);
	if (process_read_file(AT_FDCWD, path, buf, sizeof(buf)) == -1) {
		look_absent(s, "no such machine; these run:");
		add_machines(s);
		return true;
	}
	if (!read_key(buf, "LEADER=", digits, sizeof(digits)) ||
	    !parse_uint(digits, 1, INT_MAX, &pid) ||
	    (!read_key(buf, "UNIT=", unit, sizeof(unit)) &&
		!read_key(buf, "SCOPE=", unit, sizeof(unit))))
		return !look_absent(s, "%s has no LEADER= and UNIT=", path);
	unit_look(unit, s);
	if (s->process.mark[0] != ':')
		return look_absent(s, "its unit %s does not run", unit);
	s->process.pid = (int)pid;
	return true;
}
