/* Drops privileges, sets resource limits and installs system call filters. */

#ifndef BASE_SANDBOX_H
#define BASE_SANDBOX_H

#include <stdbool.h>
#include <sys/types.h>

/* A user and a group. */
struct cred {
	uid_t uid;
	gid_t gid;
	bool explicit; /* set by the user: a failure to switch is an error */
};

/*
 * Clears the dumpable flag, so that only root can trace this process or read
 * its memory, even after a user namespace was joined.
 */
void sandbox_no_ptrace(void);

/*
 * Limits this process to the capabilities that it needs to enter namespaces, to
 * open listeners and to start children that drop theirs. Returns 0, or -1 with
 * errno.
 */
int sandbox_limit_caps(void);

/*
 * Switches to the user, drops all groups, capabilities and ways to gain any,
 * and disables core files. With network, CAP_NET_ADMIN stays. If cred is not
 * explicit and the kernel refuses the switch, the user stays the same and
 * everything else is dropped. Returns 0, or -1 with errno.
 */
int sandbox_drop_privileges(const struct cred *, bool network);

/*
 * Has the kernel kill this process when its parent exits. Returns -1 with ESRCH
 * if the parent has exited already.
 */
int sandbox_die_with_parent(pid_t parent);

/*
 * Makes this process the parent of descendants whose parent exits. Returns 0,
 * or -1 with errno.
 */
int sandbox_adopt(void);

/*
 * The actions that a filter allows: SANDBOX_RELAY alone, or other flags joined.
 */
enum sandbox_flag {
	SANDBOX_RELAY = 0, /* relay() between two sockets, and exit */
	SANDBOX_TCP = 1,   /* accept; connections dial and relay */
	SANDBOX_UDP = 2,   /* relay datagrams */
	SANDBOX_NAMES = 4, /* resolve names; UDP associations of a proxy */
	SANDBOX_UNIX = 8,  /* UNIX sockets, and interface names */
	SANDBOX_MAY_NARROW = 16, /* sandbox_narrow() later */
	SANDBOX_BIND = 32,       /* bind(2) before connect(2) */
	SANDBOX_STDIO = 64, /* alone: relay between a socket and other files */
	SANDBOX_FORK = 128, /* fork connections or workers, and reap them */
	SANDBOX_POOL = 256, /* make memory of workers inaccessible */
	SANDBOX_HANDOVER = 512, /* pass descriptors to connections */
	SANDBOX_FORWARD = 1024  /* alone: wait for sockets, and relay() */
};

/*
 * Installs the filter for this process and its future children: any other
 * system call kills the caller. Where the kernel has landlock(7), forbids
 * files, too, and signals to others. Returns 0, or -1 with errno if the kernel
 * has no filters.
 */
int sandbox_seccomp(unsigned flags);

/*
 * Adds a filter to the present one, which has SANDBOX_MAY_NARROW: only calls
 * that both allow remain. Returns as sandbox_seccomp().
 */
int sandbox_narrow(unsigned flags);

/*
 * Forbids new processes, unless the user is root, and more descriptors than a
 * connection needs from its first to its last byte.
 */
void sandbox_set_rlimits(void);

#endif
