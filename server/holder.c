/* Finds the process that holds a port. */

#include <ctype.h>
#include <dirent.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "netns.h"
#include "server/holder.h"

/* A job of ns_call(): finds the socket in the tables of a namespace. */
struct holder_job {
	uint16_t port;
	bool udp;
	unsigned long inode; /* 0: not found */
};

/*
 * Sets the inode if a line of /proc/net/tcp or /proc/net/udp is that of a
 * socket on the port, which listens if it is TCP. The fields are the local
 * address (1), the state (3) and the inode (9).
 */
static void
check_line(struct holder_job *job, char *line)
{
	char *field[10], *rest = NULL, *colon;
	int n = 0;

	field[0] = strtok_r(line, " ", &rest);
	while (field[n] && ++n < 10)
		field[n] = strtok_r(NULL, " ", &rest);
	if (n < 10)
		return;
	colon = strchr(field[1], ':');
	if (colon && strtoul(colon + 1, NULL, 16) == job->port &&
	    (job->udp || strcmp(field[3], "0A") == 0))
		job->inode = strtoul(field[9], NULL, 10);
}

static void
check_table(struct holder_job *job, const char *path)
{
	char text[4096], *end;
	size_t used = 0, length;
	ssize_t n;
	int fd = open(path, O_RDONLY | O_CLOEXEC);

	if (fd == -1)
		return;
	while (!job->inode &&
	    (n = read(fd, text + used, sizeof(text) - used)) > 0) {
		used += (size_t)n;
		while (!job->inode && (end = memchr(text, '\n', used))) {
			*end++ = '\0';
			check_line(job, text);
			length = (size_t)(end - text);
			used -= length;
			memmove(text, end, used);
		}
	}
	close(fd);
}

static int
holder_main(void *arg)
{
	struct holder_job *job = arg;

	check_table(job,
	    job->udp ? "/proc/self/net/udp" : "/proc/self/net/tcp");
	if (!job->inode)
		check_table(job,
		    job->udp ? "/proc/self/net/udp6" : "/proc/self/net/tcp6");
	return 0;
}

/* Returns true if a link in /proc/PID/fd has the wanted target. */
static bool
has_descriptor(const char *pid, const char *wanted)
{
	char path[300], link[64];
	struct dirent *entry;
	ssize_t n = -1;
	DIR *dir;

	snprintf(path, sizeof(path), "/proc/%s/fd", pid);
	dir = opendir(path);
	while (dir && n == -1 && (entry = readdir(dir))) {
		n = readlinkat(dirfd(dir), entry->d_name, link, sizeof(link));
		if (n != (ssize_t)strlen(wanted) ||
		    memcmp(link, wanted, (size_t)n) != 0)
			n = -1;
	}
	if (dir)
		closedir(dir);
	return n != -1;
}

static const char *
name_process(char *buf, size_t size, const char *pid)
{
	char path[300], name[32] = "?";
	FILE *f;

	snprintf(path, sizeof(path), "/proc/%s/comm", pid);
	f = fopen(path, "re");
	if (f && fgets(name, sizeof(name), f))
		name[strcspn(name, "\n")] = '\0';
	if (f)
		fclose(f);
	snprintf(buf, size, "%s (pid %s)", name, pid);
	return buf;
}

const char *
holder_of_port(char *buf, size_t size, const struct ns *ns, uint16_t port,
    bool udp)
{
	struct holder_job job = {.port = port, .udp = udp};
	const char *found = NULL;
	struct dirent *entry;
	char wanted[48];
	DIR *proc;

	if (ns_call(ns, holder_main, &job, NULL) == -1 || !job.inode)
		return NULL;
	snprintf(wanted, sizeof(wanted), "socket:[%lu]", job.inode);
	proc = opendir("/proc");
	while (proc && !found && (entry = readdir(proc)))
		if (isdigit((unsigned char)*entry->d_name) &&
		    has_descriptor(entry->d_name, wanted))
			found = name_process(buf, size, entry->d_name);
	if (proc)
		closedir(proc);
	return found;
}
