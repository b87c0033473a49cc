/* Dropping privileges, resource limits, system call filters. */

#ifndef BASE_SANDBOX_H
#define BASE_SANDBOX_H

#include <stdbool.h>
#include <sys/types.h>

/* A user and a group. */
struct cred {
	uid_t uid;
	gid_t gid;
	bool explicit; /* by the user: it is an error if that cannot be */
};

/*
 * Nobody but root may look into this process, or take hold of it, whatever
 * user namespace it or a helper that shares its memory joins.
 */
void sandbox_no_ptrace(void);

/*
 * Leaves the server the capabilities that it needs to make mappers and
 * listeners anew, if it has them. -1 with errno.
 */
int sandbox_limit_caps(void);

/*
 * Becomes that user, without groups, capabilities, a way to get any, or core
 * files. Where cred was not given and the system does not let it, or does not
 * know it in this user namespace, the user stays. With network, CAP_NET_ADMIN
 * stays too. -1 with errno.
 */
int sandbox_drop_privileges(const struct cred *, bool network);

/* From now on this process dies with its parent. -1: that is gone. */
int sandbox_die_with_parent(pid_t parent);
/* It becomes the parent of descendants that lose theirs. -1 with errno. */
int sandbox_adopt(void);

/* What a process does; SANDBOX_RELAY alone, or others joined. */
enum sandbox_flag {
	SANDBOX_RELAY = 0, /* relay() between two sockets, and exit */
	SANDBOX_TCP = 1,   /* accept and fork; connections dial and relay */
	SANDBOX_UDP = 2,   /* relay datagrams */
	SANDBOX_NAMES = 4, /* resolve names; UDP associations of a proxy */
	SANDBOX_UNIX = 8,  /* UNIX sockets, and the names of interfaces */
	SANDBOX_MAY_NARROW = 16, /* take the role SANDBOX_RELAY later */
	SANDBOX_BIND = 32,       /* bind(2) before connect(2) */
	SANDBOX_STDIO = 64       /* alone: relay what is no socket */
};

/*
 * Whatever else this process and its children ask of the kernel from now on
 * kills them. -1 with errno: there is no such filter.
 */
int sandbox_seccomp(unsigned role);

/* For a connection with both its sockets: no process, no further descriptor. */
void sandbox_set_rlimits(void);

#endif
