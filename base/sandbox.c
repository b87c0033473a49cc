/* Drops privileges and sets resource limits. */

#include <errno.h>
#include <grp.h>
#include <link.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/fsuid.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/types.h>
#include <unistd.h>

#include <linux/capability.h>

#include "base/sandbox.h"

#include "base/sock.h"
#include "base/syscall_numbers.h"

/*
 * Descriptors: 0 to 2, client, channel, two directories and a file of names,
 * target, two queries. A relay has ten; an association up to 64 of queries.
 */
#define CONN_NOFILE 11
#define UDP_NOFILE  80
#define CAP(c)      ((uint64_t)1 << CAP_##c)

static void
set_limit(int resource, rlim_t value)
{
	const struct rlimit limit = {value, value};

	setrlimit(resource, &limit);
}

/*
 * Limits the bounding set, which stays as it is if the process may not change
 * it: what a program that is executed may have.
 */
static void
limit_bounding_set(uint64_t keep)
{
	for (int cap = 0; cap < 64; cap++)
		if (!(keep >> cap & 1))
			prctl(PR_CAPBSET_DROP, cap);
}

/* The bounding set is for limit_bounding_set(). */
int
sandbox_set_capabilities(uint64_t keep)
{
	struct __user_cap_header_struct header = {_LINUX_CAPABILITY_VERSION_3,
	    0};
	struct __user_cap_data_struct data[2] = {{0}};

	for (int i = 0; i < 2; i++)
		data[i].permitted = data[i].effective =
		    (uint32_t)(keep >> 32 * i);
	prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0);
	if (syscall(SYS_capset, &header, data) == -1)
		return -1;
	return prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
}

/*
 * Returns true if a call failed that must not. EPERM (this process is not root)
 * and EINVAL (its user namespace does not map the user) are tolerated if the
 * user was not set explicitly: then the user stays the same.
 */
static bool
is_fatal_refusal(const struct cred *cred, int result)
{
	return result == -1 &&
	    (cred->explicit || (errno != EPERM && errno != EINVAL));
}

bool
cred_equal(const struct cred *a, const struct cred *b)
{
	return a->uid == b->uid && a->gid == b->gid;
}

/* Tries setfsuid(2), which returns the previous ID, also if it fails. */
bool
sandbox_can_become(const struct cred *cred)
{
	const int old_gid = setfsgid(cred->gid), gid = setfsgid((gid_t)-1);
	const int old_uid = setfsuid(cred->uid), uid = setfsuid((uid_t)-1);

	setfsuid((uid_t)old_uid);
	setfsgid((gid_t)old_gid);
	return (uid_t)uid == cred->uid && (gid_t)gid == cred->gid;
}

int
sandbox_drop_privileges(const struct cred *cred, enum sandbox_keep keep)
{
	const uid_t uid = cred->uid;
	const gid_t gid = cred->gid;
	const uint64_t caps = keep == KEEP_MARK ? CAP(NET_ADMIN)
	    : keep == KEEP_LOW_PORTS            ? CAP(NET_BIND_SERVICE)
						: 0;

	limit_bounding_set(0); /* while CAP_SETPCAP is there */
	prctl(PR_SET_KEEPCAPS, caps != 0);
	/* Only root can drop groups. */
	if ((setgroups(0, NULL) == -1 && errno != EPERM) ||
	    is_fatal_refusal(cred, setresgid(gid, gid, gid)) ||
	    is_fatal_refusal(cred, setresuid(uid, uid, uid)) ||
	    sandbox_set_capabilities(caps) == -1)
		return -1;
	set_limit(RLIMIT_CORE, 0);
	set_limit(RLIMIT_MEMLOCK, 0);
	sandbox_no_ptrace();
	return 0;
}

/* Makes the system calls itself, because the process may share its memory. */
int
sandbox_access(const struct cred *cred, const char *path, int mode, uid_t *uid)
{
	const uid_t id = cred->uid;
	const gid_t gid = cred->gid;

	syscall(SYS_setgroups, 0, NULL);
	syscall(SYS_setresgid, gid, gid, gid);
	syscall(SYS_setresuid, id, id, id);
	*uid = (uid_t)syscall(SYS_getuid);
	return access(path, mode);
}

/* Seals the constants if they are in this part of a program or library. */
static int
seal_constants(struct dl_phdr_info *info, size_t size, void *data)
{
	const uintptr_t at = (uintptr_t)sock_linger;
	uintptr_t start, end;

	(void)size;
	(void)data;
	for (int i = 0; i < info->dlpi_phnum; i++) {
		start = info->dlpi_addr + info->dlpi_phdr[i].p_vaddr;
		end = start + info->dlpi_phdr[i].p_memsz;
		if (info->dlpi_phdr[i].p_type != PT_LOAD || at < start ||
		    at >= end)
			continue;
		start &= -(uintptr_t)getpagesize();
		return (int)syscall(SYS_mseal, start, end - start, 0);
	}
	return 0;
}

void
sandbox_seal_constants(void)
{
	dl_iterate_phdr(seal_constants, NULL);
}

void
sandbox_no_ptrace(void)
{
	prctl(PR_SET_DUMPABLE, 0);
}

int
sandbox_limit_caps(void)
{
	/*
	 * SYS_ADMIN and SYS_PTRACE enter namespaces. DAC_OVERRIDE and CHOWN are
	 * for UNIX sockets, NET_BIND_SERVICE for low ports, NET_ADMIN for large
	 * buffers. Children need SETUID, SETGID and SETPCAP to drop their
	 * privileges. The server needs KILL to signal children of another user.
	 */
	const uint64_t wanted = CAP(SYS_ADMIN) | CAP(SYS_PTRACE) |
	    CAP(DAC_OVERRIDE) | CAP(CHOWN) | CAP(NET_BIND_SERVICE) |
	    CAP(NET_ADMIN) | CAP(SETUID) | CAP(SETGID) | CAP(SETPCAP) |
	    CAP(KILL);
	struct __user_cap_header_struct header = {_LINUX_CAPABILITY_VERSION_3,
	    0};
	struct __user_cap_data_struct has[2] = {{0}};

	if (syscall(SYS_capget, &header, has) == -1)
		return -1;
	limit_bounding_set(wanted);
	return sandbox_set_capabilities(
	    wanted & (has[0].permitted | (uint64_t)has[1].permitted << 32));
}

int
sandbox_die_with_parent(pid_t parent)
{
	errno = ESRCH;
	return prctl(PR_SET_PDEATHSIG, SIGKILL) == 0 && getppid() == parent
	    ? 0
	    : -1;
}

int
sandbox_adopt(void)
{
	return prctl(PR_SET_CHILD_SUBREAPER, 1);
}

void
sandbox_set_rlimits(bool datagrams)
{
#ifdef NO_SECCOMP
	(void)datagrams;
#else
	set_limit(RLIMIT_NOFILE, datagrams ? UDP_NOFILE : CONN_NOFILE);
	set_limit(RLIMIT_NPROC, 0);
#endif
}

void
sandbox_keep_caps_over_exec(void)
{
	struct __user_cap_header_struct header = {_LINUX_CAPABILITY_VERSION_3,
	    0};
	struct __user_cap_data_struct has[2] = {{0}};

	if (syscall(SYS_capget, &header, has) == -1)
		return;
	for (int i = 0; i < 2; i++)
		has[i].inheritable = has[i].permitted;
	if (syscall(SYS_capset, &header, has) == -1)
		return;
	for (int cap = 0; cap < 64; cap++)
		if (has[cap / 32].permitted & 1u << cap % 32)
			prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, cap, 0, 0);
}
