/* Drops privileges and sets resource limits. */

#ifndef BASE_SANDBOX_H
#define BASE_SANDBOX_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

/* A user and a group. */
struct cred {
	uid_t uid;
	gid_t gid;
	bool explicit; /* set by the user: a failure to switch is an error */
};

/* Returns true if the user and the group are the same. */
bool cred_equal(const struct cred *, const struct cred *);

/* The capability that sandbox_drop_privileges() leaves. */
enum sandbox_keep {
	KEEP_NONE,
	KEEP_MARK,     /* CAP_NET_ADMIN, to mark sockets */
	KEEP_LOW_PORTS /* CAP_NET_BIND_SERVICE */
};

/*
 * Clears the dumpable flag, so that only root can trace this process or read
 * its memory, even after a user namespace was joined.
 */
void sandbox_no_ptrace(void);

/*
 * Makes the constants of the program stay what they are in this process and its
 * children, whatever they map, because filters compare addresses of some. Does
 * nothing before Linux 6.10.
 */
void sandbox_seal_constants(void);

/*
 * Limits this process to the capabilities that it needs to enter namespaces, to
 * open listeners and to start children that drop theirs. Returns 0, or -1 with
 * errno.
 */
int sandbox_limit_caps(void);

/* Lets a program that this process executes have its capabilities. */
void sandbox_keep_caps_over_exec(void);

/*
 * Switches to the user, drops all groups, capabilities and ways to gain any,
 * and disables core files, except the capability to keep. If cred is not
 * explicit and the kernel refuses the switch, the user stays the same and
 * everything else is dropped. Returns 0, or -1 with errno.
 */
int sandbox_drop_privileges(const struct cred *, enum sandbox_keep);

/*
 * Returns true if sandbox_drop_privileges() can switch to the user and group:
 * false without CAP_SETUID, or if the user namespace lacks either.
 */
bool sandbox_can_become(const struct cred *);

/*
 * Limits four of the capability sets to keep, permanently. Returns 0; or -1
 * with errno, EPERM if keep has a capability that is not permitted.
 */
int sandbox_set_capabilities(uint64_t keep);

/*
 * Asks, as a mapper of that user would, whether a file may be accessed. Changes
 * the user of the calling process, which is for nothing else, and in *uid tells
 * who that is. For mode and result see access(2).
 */
int sandbox_access(const struct cred *, const char *path, int mode, uid_t *uid);

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
 * Forbids new processes, unless the user is root, and more descriptors than a
 * connection needs; with `datagrams`, than an association does.
 */
void sandbox_set_rlimits(bool datagrams);

#endif
