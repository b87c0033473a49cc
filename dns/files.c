/*
 * Finds and reads resolv.conf and hosts.
 *
 * Theory of operation: a file is opened by its path at each use, below a
 * directory that stays open. So a file that is created later or replaced by
 * rename(2) is read at the next use. A container can write any file in its
 * root. So nsfwd resolves paths and links inside that root (RESOLVE_IN_ROOT),
 * does not wait for a FIFO or a device, and limits the sizes of files.
 */

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/openat2.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "dns/files.h"

#include "base/syscall_numbers.h"

#define CONF_MAX   65536
#define HOSTS_MAX  (1 << 20)
#define PIECE      4096
#define RECENT_NS  2000000000 /* longer than a tick of any file system */
#define READ_FLAGS (O_RDONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC)
#define LOOK_FLAGS (O_PATH | O_NOFOLLOW | O_CLOEXEC)
#define DIR_FLAGS  (O_PATH | O_DIRECTORY | O_CLOEXEC)
#define RACES_MAX  128
#define LINKS_MAX  8 /* from one link to the next */

int
dns_files_open(struct dns_files *f, const char *netns, int root, pid_t pid)
{
	memset(f, 0, sizeof(*f));
	f->root = root;
	f->pid = pid;
	if (netns)
		snprintf(f->own, sizeof(f->own), "netns/%s", netns);
	f->etc = open("/etc", DIR_FLAGS);
	return f->etc == -1 && errno != ENOENT ? -1 : 0;
}

void
dns_files_close(struct dns_files *f)
{
	if (f->etc != -1)
		close(f->etc);
	if (f->root != -1)
		close(f->root);
	f->etc = f->root = -1;
}

static bool
is_hosts(enum dns_file file)
{
	return file == DNS_OWN_HOSTS || file == DNS_ETC_HOSTS;
}

static bool
is_own(enum dns_file file)
{
	return file == DNS_OWN_CONF || file == DNS_OWN_HOSTS;
}

/*
 * Opens a path of one or two names. A symbolic link, which could lead out of
 * the root, is refused with ELOOP.
 */
static int
open_no_link(int root, const char *path, int flags)
{
	const char *name = strchr(path, '/');
	char dir[NAME_MAX + 1];
	int at, fd, saved;

	if (!name)
		return openat(root, path, flags | O_NOFOLLOW);
	snprintf(dir, sizeof(dir), "%.*s", (int)(name - path), path);
	at = openat(root, dir, DIR_FLAGS | O_NOFOLLOW);
	if (at == -1) {
		errno = errno == ENOTDIR ? ELOOP : errno;
		return -1;
	}
	fd = openat(at, name + 1, flags | O_NOFOLLOW);
	saved = errno;
	close(at);
	errno = saved;
	return fd;
}

/*
 * Opens a file inside a container's root. Follows no symbolic link without
 * openat2(2), before Linux 5.6 or if a system call filter denies it.
 */
static int
open_in_root(int root, const char *path, int flags)
{
	const struct open_how how = {
	    .flags = (unsigned)flags,
	    .resolve = RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS,
	};
	int fd = -1;

	/* EAGAIN: anything was renamed or mounted while ".." was followed. */
	for (int i = 0; i < RACES_MAX && fd == -1; i++) {
		fd = (int)syscall(SYS_openat2, root, path, &how, sizeof(how));
		if (fd == -1 && errno != EAGAIN)
			break;
	}

	if (fd == -1 && (errno == ENOSYS || errno == EPERM))
		fd = open_no_link(root, path, flags);
	return fd;
}

static int
open_once(const struct dns_files *f, enum dns_file file, int flags)
{
	const char *name = is_hosts(file) ? "hosts" : "resolv.conf";
	char path[sizeof(f->own) + 16];

	errno = ENOENT;
	if (is_own(file) && f->root != -1) {
		snprintf(path, sizeof(path), "etc/%s", name);
		return open_in_root(f->root, path, flags);
	}
	if (f->etc == -1 || (is_own(file) && !f->own[0]))
		return -1;
	if (!is_own(file))
		return openat(f->etc, name, flags);
	snprintf(path, sizeof(path), "%s/%s", f->own, name);
	return openat(f->etc, path, flags);
}

/*
 * Opens a file. Returns its descriptor, or -1 with errno. Sets *there to false
 * if the name does not exist; a link that leads nowhere does exist. Retries
 * once, because the file may be created between the two open calls.
 */
static int
open_regular_file(const struct dns_files *f, enum dns_file file, bool *there)
{
	int fd = -1, look;

	*there = true;
	for (int i = 0; i < 2 && fd == -1; i++) {
		fd = open_once(f, file, READ_FLAGS);
		if (fd != -1 || errno != ENOENT)
			return fd;
		look = open_once(f, file, LOOK_FLAGS);
		*there = look != -1 || errno != ENOENT;
		if (look == -1)
			return -1;
		close(look);
		errno = ENOENT;
	}
	return fd;
}

static int
close_with(int fd, int error)
{
	close(fd);
	errno = error;
	return error ? -1 : 0;
}

/* Opens the file of the namespace or, if it does not exist, that of /etc. */
static int
open_first(const struct dns_files *f, bool hosts, enum dns_file *which,
    bool *there)
{
	struct stat st;
	int fd;

	*which = hosts ? DNS_OWN_HOSTS : DNS_OWN_CONF;
	fd = open_regular_file(f, *which, there);
	if (fd == -1 && !*there) {
		*which = hosts ? DNS_ETC_HOSTS : DNS_ETC_CONF;
		fd = open_regular_file(f, *which, there);
	}
	if (fd == -1)
		return -1;
	if (fstat(fd, &st) == -1)
		return close_with(fd, errno);
	return S_ISREG(st.st_mode) ? fd : close_with(fd, EINVAL);
}

/*
 * Feeds a file to a lexer and closes the file. Reads at most `max` bytes; a
 * longer file fails with EFBIG if `whole` is set, else its last word, which may
 * be cut, is left out. Returns -1 with errno.
 */
static int
feed(int fd, struct dns_lexer *lexer, size_t max, bool whole)
{
	char buf[PIECE];
	size_t total = 0;
	ssize_t n;

	while (total < max) {
		n = read(fd, buf, sizeof(buf));
		if (n == -1 && errno == EINTR)
			continue;
		if (n == -1)
			return close_with(fd, errno);
		if (n == 0) {
			dns_lexer_end(lexer);
			return close_with(fd, 0);
		}
		dns_lexer_feed(lexer, buf, (size_t)n);
		total += (size_t)n;
	}
	return close_with(fd, whole ? EFBIG : 0);
}

int
dns_files_conf(const struct dns_files *f, struct dns_conf *conf,
    enum dns_file *which)
{
	struct dns_conf_reader reader;
	bool there;
	int fd = open_first(f, false, which, &there);

	dns_conf_begin(&reader, conf);
	if (fd == -1 && there)
		return -1;
	if (fd != -1 && feed(fd, &reader.lexer, CONF_MAX, true) == -1)
		return -1;
	dns_conf_end(&reader);
	return 0;
}

int
dns_files_hosts(const struct dns_files *f, const char *name,
    struct dns_result *result, enum dns_file *which)
{
	struct dns_hosts_reader reader;
	bool there;
	int fd = open_first(f, true, which, &there);

	if (fd == -1)
		return there ? -1 : 0;
	dns_hosts_begin(&reader, name, result);
	return feed(fd, &reader.lexer, HOSTS_MAX, false);
}

static int64_t
nanoseconds(struct timespec ts)
{
	return (int64_t)ts.tv_sec * 1000000000 + ts.tv_nsec;
}

/*
 * Gets the stamp of a file. Returns true if the file has changed so recently
 * that another change might leave its times as they are.
 */
static bool
stamp_file(const struct dns_files *f, bool hosts, struct dns_file_stamp *stamp,
    int64_t now)
{
	enum dns_file which;
	struct stat st;
	int64_t age = -1;
	bool there;
	int fd = open_first(f, hosts, &which, &there);

	if (fd == -1 || fstat(fd, &st) == -1) {
		stamp->error = errno;
	} else {
		stamp->dev = (int64_t)st.st_dev;
		stamp->ino = (int64_t)st.st_ino;
		stamp->size = st.st_size;
		stamp->mtime = nanoseconds(st.st_mtim);
		stamp->ctime = nanoseconds(st.st_ctim);
		age = now - stamp->ctime;
	}
	if (fd != -1)
		close(fd);
	return age >= 0 && age < RECENT_NS;
}

void
dns_files_stamp(const struct dns_files *f, struct dns_stamp *stamp)
{
	struct timespec ts;

	memset(stamp, 0, sizeof(*stamp));
	clock_gettime(CLOCK_REALTIME, &ts);
	for (int i = 0; i < 2; i++)
		if (stamp_file(f, i == 1, &stamp->file[i], nanoseconds(ts)))
			stamp->recent = true;
}

bool
dns_stamp_equal(const struct dns_stamp *a, const struct dns_stamp *b)
{
	return !a->recent && !b->recent &&
	    memcmp(a->file, b->file, sizeof(a->file)) == 0;
}

const char *
dns_files_path(const struct dns_files *f, enum dns_file file, char *buf)
{
	const char *name = is_hosts(file) ? "hosts" : "resolv.conf";

	if (!is_own(file))
		snprintf(buf, DNS_PATH_SIZE, "/etc/%s", name);
	else if (f->root != -1)
		snprintf(buf, DNS_PATH_SIZE, "/proc/%d/root/etc/%s",
		    (int)f->pid, name);
	else
		snprintf(buf, DNS_PATH_SIZE, "/etc/%s/%s", f->own, name);
	return buf;
}

/* The directories found so far. */
struct dns_dirs {
	int *fds;
	size_t count, max;
};

static int
add_dir(struct dns_dirs *d, int fd)
{
	if (fd == -1)
		return -1;
	if (d->count == d->max)
		return close_with(fd, ENOSPC);
	d->fds[d->count++] = fd;
	return fd;
}

/*
 * Adds the directory of a path, and those of the links that it leads to, even
 * if the last one leads nowhere.
 */
static void
add_linked_dirs(struct dns_dirs *d, int dir, const char *file)
{
	char path[PATH_MAX], base[PATH_MAX], *slash;
	ssize_t n = snprintf(path, sizeof(path), "%s", file);

	for (int i = 0; i < LINKS_MAX && dir != -1 && n != -1; i++) {
		path[n] = '\0';
		slash = strrchr(path, '/');
		snprintf(base, sizeof(base), "%s", slash ? slash + 1 : path);
		if (slash) {
			slash[slash == path] = '\0';
			dir = add_dir(d, openat(dir, path, DIR_FLAGS));
		}
		n = readlinkat(dir, base, path, sizeof(path) - 1);
	}
}

size_t
dns_files_dirs(const struct dns_files *f, int *fds, size_t max)
{
	static const char places[][24] = {"/etc", "/run/systemd/resolve",
	    "/run/NetworkManager", "/run/resolvconf"};
	static const char in_root[][4] = {"etc", "run"};
	struct dns_dirs d = {.fds = fds, .max = max};
	char own[sizeof(f->own) + 16];

	for (size_t i = 0; i < 4; i++)
		add_dir(&d, open(places[i], DIR_FLAGS));
	for (size_t i = 0; i < 2 && f->root != -1; i++)
		add_dir(&d, open_in_root(f->root, in_root[i], DIR_FLAGS));
	for (size_t i = 0; i < 2 && f->etc != -1; i++) {
		const char *name = i ? "hosts" : "resolv.conf";

		snprintf(own, sizeof(own), "%s/%s", f->own, name);
		if (f->own[0])
			add_linked_dirs(&d, f->etc, own);
		add_linked_dirs(&d, f->etc, name);
	}
	return d.count;
}
