/* Names, finds, identifies and enters network namespaces. */

#ifndef NETNS_H
#define NETNS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum ns_kind {
	NS_SELF,     /* the namespace of the calling process */
	NS_INIT,     /* the namespace of process 1 */
	NS_NAME,     /* /run/netns/SPEC, then /var/run/netns/SPEC */
	NS_PATH,     /* the file SPEC */
	NS_PID,      /* the namespace of process `number` */
	NS_FD,       /* the open descriptor `number` */
	NS_CONTAINER /* of the process of `container` */
};

/*
 * A network namespace as the user named it; all zero is NS_SELF. The name is
 * looked up at each use.
 *
 * A number is not an identity: pid:N, and each path or name that leads through
 * /proc/N, means the process that had the number N when the namespace was first
 * opened. After that process has ended, functions fail with ESRCH and never
 * enter the namespace of a later process N. If the links of a path later lead
 * to another number, the path means the process of that number from then on.
 */
struct ns {
	enum ns_kind kind;
	int number;                  /* of NS_PID and NS_FD */
	struct container *container; /* of NS_CONTAINER; shared */
	char *spec;            /* the user's text, or NULL: "self"; owned */
	struct anchor *anchor; /* binds the name to a process; owned */
};

/*
 * Parses the name of a namespace. Returns NULL and fills *ns, which ns_free()
 * releases; or returns why the name is wrong, a string constant, and leaves
 * nothing to release.
 */
const char *ns_parse(struct ns *ns, const char *spec);
void ns_free(struct ns *);

/*
 * Copies src, but not the process that src is bound to, into dst, which
 * ns_free() releases. Returns 0, or -1 with ENOMEM.
 */
int ns_copy(struct ns *dst, const struct ns *src);

/*
 * Binds dst to the process of src, if both have the same name and dst is bound
 * to no process.
 */
void ns_inherit(struct ns *dst, const struct ns *src);

/* Returns the user's text, or "self" if there was none. */
const char *ns_spec(const struct ns *);

/*
 * Writes which container and process a name of NS_CONTAINER leads to, or "",
 * into buf, which has NS_TEXT_SIZE bytes. Returns buf.
 */
#define NS_TEXT_SIZE 352
const char *ns_describe(const struct ns *, char *buf);

/* Returns the process that the name was last found to lead to, or 0. */
int ns_pid(const struct ns *);

/* Returns true if both have the same text. */
bool ns_same(const struct ns *, const struct ns *);

/*
 * Returns the inode number of the namespace. No other namespace has that number
 * while a process or a socket of this namespace exists. Returns 0 with errno as
 * ns_enter(), but without a retry.
 */
uint64_t ns_id(const struct ns *);

/*
 * Returns true if the name can lead to another namespace without a mount or
 * unmount, so that poll(2) on /proc/self/mountinfo does not report the change.
 */
bool ns_needs_polling(const struct ns *);

/*
 * Moves the calling process, which has one thread, into the namespace for good,
 * see setns(2). If only the owner of the namespace may do that, the process
 * joins the owning user namespace first. NS_SELF needs no call.
 *
 * Returns 0, or -1 with errno of open(2) or setns(2): ENOENT if there is no
 * such file, EINVAL if it is no network namespace, ENODATA if it is an empty
 * file (a namespace may be mounted on it in another mount namespace), ESRCH if
 * the process has ended. An empty file is tried again for a second, because `ip
 * netns add` makes the file before it mounts the namespace.
 *
 * If root is not NULL, *root is set to a descriptor (O_PATH) of the root
 * directory of the process that a pid:N or a path leads to; or to -1 if the
 * name leads through no process, and on failure.
 */
int ns_enter(const struct ns *, int root[2]);

/*
 * Runs fn(arg), or nothing if fn is NULL, in the namespace. Returns the result
 * of fn with its errno; or -1 with errno of ns_enter() or clone(2) if fn did
 * not run. Sets *entered to 1 if the namespace was entered, else to 0, unless
 * entered is NULL.
 *
 * fn runs in a short-lived process that shares memory and descriptors with the
 * waiting caller, so that a socket that fn opens is open in the caller. fn must
 * not allocate memory and has 32 KiB of stack.
 */
int ns_call(const struct ns *, int (*fn)(void *), void *arg, int *entered);

/* Returns true if err means that the namespace does not exist, or not yet. */
bool ns_is_missing(int err);

/*
 * Returns advice for the user after ns_enter(), ns_call() or ns_id() failed
 * with err: a clause for the end of an error message, which the next lookup of
 * a container may change; or NULL.
 */
const char *ns_hint(const struct ns *, int err);

#endif
