/* Filters of system calls, see seccomp(2). */

#ifndef BASE_SECCOMP_H
#define BASE_SECCOMP_H

/* Flags of a filter: some alone, or a union of the others. */
enum sandbox_flag {
	SANDBOX_RELAY = 0,       /* relay() between two sockets, and exit */
	SANDBOX_TCP = 1,         /* accept; connections dial and relay */
	SANDBOX_UDP = 2,         /* relay datagrams */
	SANDBOX_NAMES = 4,       /* resolve names */
	SANDBOX_UNIX = 8,        /* UNIX sockets, and interface names */
	SANDBOX_MAY_NARROW = 16, /* install another filter later */
	SANDBOX_BIND = 32,       /* bind(2) before connect(2) */
	SANDBOX_STDIO = 64,  /* alone: relay between a socket and other files */
	SANDBOX_PROXY = 128, /* parse requests */
	SANDBOX_HANDOVER = 256, /* pass UDP sockets to associations */
	SANDBOX_FORK = 512,     /* fork connections or workers, and reap them */
	SANDBOX_POOL = 1024,    /* make memory of workers inaccessible */
	SANDBOX_DEVICE = 2048,  /* bind sockets to an interface */
	SANDBOX_ANSWER = 4096,  /* alone: read a request, ask mappers, write */
	SANDBOX_TRACKER = 8192  /* alone: read files, ask UNIX sockets */
};

/*
 * The descriptor of the client in the process of a connection. With
 * SANDBOX_FORK, no descriptor up to this one can be connected, and no socket
 * can be moved beyond.
 */
#define SANDBOX_CLIENT_FD 3

/*
 * Installs the filter that `flags` select, for this process and its future
 * children. A system call that the filter does not allow kills the process. Of
 * several filters, only calls that all of them allow remain. Returns 0, or -1
 * with errno if the kernel has no filters.
 */
int sandbox_seccomp(unsigned flags);

#endif
