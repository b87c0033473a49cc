/* Names, finds, identifies and enters network namespaces. */

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <sched.h>
#include <signal.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/types.h>
#include <sys/vfs.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <linux/magic.h>
#include <linux/nsfs.h>

#include "netns.h"

#include "base/anchor.h"
#include "base/fd.h"
#include "container/container.h"

#define HELPER_STACK 32768
#define RETRIES      20
#define RETRY_MS     50

/* Returns the value of a decimal number, or -1 if the text is none. */
static int
parse_number(const char *digits)
{
	char *end;
	unsigned long value = strtoul(digits, &end, 10);

	if (*digits < '0' || *digits > '9' || *end || value > INT_MAX ||
	    (*digits == '0' && digits[1]))
		return -1;
	return (int)value;
}

/* Sets kind and container if spec is docker:NAME or the like. */
static const char *
classify_container(struct ns *ns, const char *spec)
{
	const char *why, *name = strchr(spec, ':');

	for (unsigned i = 0; name && i < RUNTIMES; i++) {
		const char *word = look_word((enum runtime)i);
		size_t length = strlen(word);

		if (length != (size_t)(name - spec) ||
		    memcmp(spec, word, length) != 0)
			continue;
		ns->kind = NS_CONTAINER;
		why = look_check_name((enum runtime)i, name + 1);
		if (!why)
			ns->container =
			    container_get((enum runtime)i, name + 1);
		return why ? why : ns->container ? NULL : "out of memory";
	}
	return NULL;
}

/* Sets kind and number. Returns NULL, or why the name is wrong. */
static const char *
classify(struct ns *ns, const char *spec)
{
	const char *why = classify_container(ns, spec);

	if (why || ns->kind == NS_CONTAINER)
		return why;
	if (strcmp(spec, "self") == 0 || strcmp(spec, "init") == 0) {
		ns->kind = *spec == 's' ? NS_SELF : NS_INIT;
	} else if (strncmp(spec, "pid:", 4) == 0) {
		ns->kind = NS_PID;
		ns->number = parse_number(spec + 4);
		return ns->number > 0 ? NULL : "no process number (pid:4242)";
	} else if (strncmp(spec, "fd:", 3) == 0) {
		ns->kind = NS_FD;
		ns->number = parse_number(spec + 3);
		return ns->number >= 0 ? NULL : "no descriptor number (fd:3)";
	} else if (strchr(spec, '/')) {
		ns->kind = NS_PATH;
		return strlen(spec) < PATH_MAX
		    ? NULL
		    : "longer than the 4095 bytes of a path";
	} else {
		ns->kind = NS_NAME;
		if (!*spec || strcmp(spec, ".") == 0 || strcmp(spec, "..") == 0)
			return "no name of a namespace";
		if (strlen(spec) > NAME_MAX)
			return "longer than the 255 bytes of a name";
	}
	return NULL;
}

/* Sets spec and an unbound anchor. Returns 0, or -1 with ENOMEM. */
static int
set_spec(struct ns *ns, const char *spec)
{
	ns->spec = strdup(spec);
	ns->anchor = anchor_new();
	if (ns->spec && ns->anchor)
		return 0;
	ns_free(ns);
	return -1;
}

const char *
ns_parse(struct ns *ns, const char *spec)
{
	const char *why;

	*ns = (struct ns){.kind = NS_SELF};
	why = classify(ns, spec);
	if (why)
		return why;
	return set_spec(ns, spec) == 0 ? NULL : "out of memory";
}

void
ns_free(struct ns *ns)
{
	free(ns->spec);
	anchor_free(ns->anchor);
	container_put(ns->container);
	ns->spec = NULL;
	ns->anchor = NULL;
	ns->container = NULL;
}

int
ns_copy(struct ns *dst, const struct ns *src)
{
	const char *why;

	if (!src->spec) {
		*dst = (struct ns){.kind = src->kind, .number = src->number};
		return 0;
	}
	why = ns_parse(dst, src->spec);
	if (!why)
		return 0;
	errno = ENOMEM;
	return -1;
}

void
ns_inherit(struct ns *dst, const struct ns *src)
{
	if (!anchor_seen(src->anchor) || anchor_seen(dst->anchor) ||
	    !ns_same(dst, src))
		return;
	anchor_free(dst->anchor);
	dst->anchor = anchor_share(src->anchor);
}

const char *
ns_spec(const struct ns *ns)
{
	return ns->spec ? ns->spec : "self";
}

const char *
ns_describe(const struct ns *ns, char *buf)
{
	_Static_assert(NS_TEXT_SIZE >= CONTAINER_TEXT_SIZE, "see netns.h");
	*buf = '\0';
	return ns->kind == NS_CONTAINER ? container_describe(ns->container, buf)
					: buf;
}

int
ns_pid(const struct ns *ns)
{
	return anchor_pid(ns->anchor);
}

bool
ns_same(const struct ns *a, const struct ns *b)
{
	return a->kind == b->kind && strcmp(ns_spec(a), ns_spec(b)) == 0;
}

/*
 * Opens a file that must be a network namespace. *unfinished is set for an
 * empty file, which `ip netns add` makes before it mounts the namespace on it.
 * Returns a descriptor, or -1 with errno.
 */
static int
open_nsfs(struct anchor *a, const char *path, bool *unfinished)
{
	int fd, kind = -1;
	struct statfs fs;
	struct stat st;

	*unfinished = false;
	fd = anchor_open(a, path);
	if (fd == -1)
		return -1;
	/* If fstatfs(2) fails, its errno is returned. */
	if (fstatfs(fd, &fs) == 0 &&
	    (fs.f_type != NSFS_MAGIC ||
		(kind = ioctl(fd, NS_GET_NSTYPE)) != -1)) {
		if (kind == CLONE_NEWNET)
			return fd;
		*unfinished = kind == -1 && fstat(fd, &st) == 0 &&
		    S_ISREG(st.st_mode) && st.st_size == 0;
		errno = *unfinished ? ENODATA : EINVAL;
	}
	close_keep_errno(fd);
	return -1;
}

/*
 * Opens a namespace. While the file is unfinished, tries again up to `retries`
 * times, after pauses.
 */
static int
open_ns_with_retry(struct anchor *a, const char *path, int retries)
{
	const struct timespec pause = {.tv_nsec = RETRY_MS * 1000000L};
	bool unfinished;
	int fd;

	for (int i = 0;; i++) {
		fd = open_nsfs(a, path, &unfinished);
		if (fd != -1 || !unfinished || i == retries)
			return fd;
		nanosleep(&pause, NULL);
	}
}

/* Opens a name of ip-netns(8). */
static int
open_name(const struct ns *ns, int retries)
{
	static const char *const dirs[] = {"/run/netns", "/var/run/netns"};
	char path[sizeof("/var/run/netns/") + 255];
	int fd = -1;

	for (int i = 0; i < 2 && fd == -1; i++) {
		snprintf(path, sizeof(path), "%s/%s", dirs[i], ns->spec);
		fd = open_ns_with_retry(ns->anchor, path, retries);
		if (fd == -1 && errno != ENOENT)
			break;
	}
	return fd;
}

/* The anchor is bound anew each time, because the name is the identity. */
static int
open_container(const struct ns *ns)
{
	int dir = container_open(ns->container);

	if (dir == -1 || anchor_bind(ns->anchor, dir) == -1)
		return -1;
	return anchor_open_below(ns->anchor, "ns/net");
}

/* Opens the namespace. Returns a descriptor, or -1 with errno. */
static int
open_ns(const struct ns *ns, int retries)
{
	char path[32];

	switch (ns->kind) {
	case NS_NAME:
		return open_name(ns, retries);
	case NS_PATH:
		return open_ns_with_retry(ns->anchor, ns->spec, retries);
	case NS_PID:
		snprintf(path, sizeof(path), "/proc/%d/ns/net", ns->number);
		return open_ns_with_retry(ns->anchor, path, 0);
	case NS_FD:
		if (fcntl(ns->number, F_GETFD) == -1)
			return -1;
		snprintf(path, sizeof(path), "/proc/self/fd/%d", ns->number);
		return open_ns_with_retry(NULL, path, 0);
	case NS_CONTAINER:
		return open_container(ns);
	case NS_INIT:
		return open_ns_with_retry(NULL, "/proc/1/ns/net", 0);
	case NS_SELF:
		break;
	}
	return open_ns_with_retry(NULL, "/proc/self/ns/net", 0);
}

uint64_t
ns_id(const struct ns *ns)
{
	int fd = open_ns(ns, 0), result;
	struct stat st;

	if (fd == -1)
		return 0;
	result = fstat(fd, &st);
	close_keep_errno(fd);
	return result == -1 ? 0 : st.st_ino;
}

/* No event reports a changed link, or a mount in another mount namespace. */
bool
ns_needs_polling(const struct ns *ns)
{
	char path[sizeof("/run/netns/") + 255], real[PATH_MAX];
	struct stat st;

	if (ns->kind == NS_PATH)
		return !realpath(ns->spec, real) || strcmp(real, ns->spec) != 0;
	if (ns->kind != NS_NAME)
		return ns->kind == NS_PID;
	snprintf(path, sizeof(path), "/run/netns/%s", ns->spec);
	return lstat(path, &st) == 0 && S_ISLNK(st.st_mode);
}

/*
 * Joins the owning user namespace only if setns(2) fails without that, because
 * a process that joins another user namespace loses its rights in its own.
 * setns(2) with CLONE_NEWUSER needs a process without threads and without
 * CLONE_FS.
 */
static int
enter_fd(int fd)
{
	int owner, result;

	if (setns(fd, CLONE_NEWNET) == 0)
		return 0;
	if (errno != EPERM)
		return -1;
	owner = ioctl(fd, NS_GET_USERNS);
	result = owner == -1 ? -1 : setns(owner, CLONE_NEWUSER);
	if (owner != -1)
		close(owner);
	if (result == 0)
		return setns(fd, CLONE_NEWNET);
	errno = EPERM;
	return -1;
}

/*
 * Opens the root of the process that open_ns() has bound the anchor to. Returns
 * 0 and sets *root, or -1 with errno.
 */
static int
open_root(const struct ns *ns, int root[2])
{
	if (!root ||
	    (ns->kind != NS_PID && ns->kind != NS_PATH &&
		ns->kind != NS_CONTAINER) ||
	    !anchor_used(ns->anchor))
		return 0;
	root[0] = anchor_open_root(ns->anchor);
	if (root[0] != -1)
		root[1] = anchor_open_mounts(ns->anchor);
	return root[0] == -1 || root[1] == -1 ? -1 : 0;
}

/* The root is opened first, because joining a user namespace loses rights. */
int
ns_enter(const struct ns *ns, int root[2])
{
	int fd, result;

	if (root)
		root[0] = root[1] = -1;
	if (ns->kind == NS_SELF)
		return 0;
	fd = open_ns(ns, RETRIES);
	if (fd == -1)
		return -1;
	result = open_root(ns, root);
	if (result == 0)
		result = enter_fd(fd);
	close_keep_errno(fd);
	for (int i = 0; i < 2 && result == -1 && root; i++)
		if (root[i] != -1)
			root[i] = close_keep_errno(root[i]);
	return result;
}

/* The job of a helper process, in memory that caller and helper share. */
struct helper_job {
	int fd; /* of the namespace to enter; -1: none */
	int (*fn)(void *);
	void *arg;
	int entered, result;
};

/* Leaves the result in the job and in errno, which caller and helper share. */
static int
helper_main(void *arg)
{
	struct helper_job *job = arg;

	if (job->fd != -1 && enter_fd(job->fd) == -1)
		return 0;
	job->entered = 1;
	job->result = job->fn ? job->fn(job->arg) : 0;
	return 0;
}

/*
 * Runs a job in a helper process. The stack of the helper is a part of the
 * caller's stack, which stays, because CLONE_VFORK suspends the caller until
 * the helper exits. Returns the result of the job, or -1 with errno.
 */
static int
run_helper(struct helper_job *job)
{
	_Alignas(64) char stack[HELPER_STACK];
	pid_t pid;
	int saved;

	pid = clone(helper_main, stack + sizeof(stack),
	    CLONE_VM | CLONE_VFORK | CLONE_FILES, job);
	if (pid == -1)
		return -1;
	saved = errno;
	while (waitpid(pid, NULL, __WCLONE) == -1 && errno == EINTR)
		;
	errno = saved;
	return job->result;
}

int
ns_call(const struct ns *ns, int (*fn)(void *), void *arg, int *entered)
{
	struct helper_job job = {.fd = -1, .fn = fn, .arg = arg, .result = -1};
	int result;

	if (entered)
		*entered = 0;
	if (ns->kind != NS_SELF) {
		job.fd = open_ns(ns, RETRIES);
		if (job.fd == -1)
			return -1;
	}
	result = run_helper(&job);
	if (job.fd != -1)
		close_keep_errno(job.fd);
	if (entered)
		*entered = job.entered;
	return result;
}

bool
ns_is_missing(int err)
{
	return err == ENOENT || err == ESRCH || err == EBADF ||
	    err == ENOTDIR || err == ENODATA;
}

const char *
ns_hint(const struct ns *ns, int err)
{
	static const char *const missing[] = {
	    [NS_NAME] = "ip netns list shows them",
	    [NS_PID] = "no such process",
	    [NS_FD] = "the descriptor is not open",
	};

	if (ns_is_missing(err) && ns->kind == NS_CONTAINER)
		return container_why(ns->container);
	if (err == ENODATA)
		return "an empty file: the name was made in another mount "
		       "namespace";
	if (err == ESRCH)
		return anchor_seen(ns->anchor)
		    ? "its process has ended: name the one in its place"
		    : "no such process";
	if (ns_is_missing(err))
		return missing[ns->kind] ? missing[ns->kind] : "no such file";
	if (err == EPERM)
		return "entering it needs CAP_SYS_ADMIN: be root, or the owner "
		       "of its user namespace";
	if (err == EACCES)
		return "looking at it needs the rights of its owner, or "
		       "CAP_SYS_PTRACE";
	return NULL;
}
