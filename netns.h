/* Names, finds, identifies and enters network namespaces. */

#ifndef NETNS_H
#define NETNS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum ns_kind {
	NS_SELF, /* where the process was started */
	NS_INIT, /* that of process 1 */
	NS_NAME, /* /run/netns/TEXT, then /var/run/netns/TEXT */
	NS_PATH, /* any file of type nsfs */
	NS_PID,  /* that of process NUMBER */
	NS_FD    /* the open descriptor NUMBER */
};

/*
 * A namespace as the user named it; all zero is NS_SELF. Nothing is looked up
 * until it is used.
 *
 * A number is not an identity: pid:N, and each path or name that leads through
 * /proc/N, is of the process that had the number when the namespace was first
 * opened. When that process has ended, errno is ESRCH, and a later process of
 * that number is never entered. A link that leads to another number is opened
 * anew.
 */
struct ns {
	enum ns_kind kind;
	int number; /* NS_PID, NS_FD */
	char *spec; /* the user's word, a name or path if it is that: owned */
	struct anchor *anchor; /* the process, once it was seen: owned */
};

/*
 * Reads a namespace word. Returns NULL and fills *ns, which ns_free releases;
 * or returns the reason why the word is wrong, a string constant, and leaves
 * nothing to release.
 */
const char *ns_parse(struct ns *, const char *word);
void ns_free(struct ns *);

/*
 * Copies *from into *to, which ns_free releases, but not the process that was
 * seen: *to has not been opened. -1 with ENOMEM.
 */
int ns_copy(struct ns *dst, const struct ns *src);

/* If both have the same word and *to was never opened: is of from's process. */
void ns_inherit(struct ns *dst, const struct ns *src);

/* The user's word for it, "self" where there was none. */
const char *ns_spec(const struct ns *);

/* True if both name the same namespace in the same words. */
bool ns_same(const struct ns *, const struct ns *);

/*
 * A number that no other namespace has as long as this one lives, for which a
 * socket in it, or a process, is enough; 0 with errno of ns_enter(), at once.
 */
uint64_t ns_id(const struct ns *);

/*
 * True if it may become another one without a mount or unmount, which is what
 * poll(2) of /proc/self/mountinfo tells of.
 */
bool ns_needs_polling(const struct ns *);

/*
 * Moves the calling process into the namespace for good: setns(2), into the
 * user namespace that owns it first where that is what it takes. NS_SELF is
 * where one is: no call. The process must have one thread. 0, or -1 with errno
 * of setns(2), or ENOENT there is none, EINVAL the file is not a network
 * namespace, ENODATA it is empty: one may be mounted on it elsewhere, ESRCH the
 * process has ended, EACCES and EPERM as open(2). A file that
 * `ip netns add` has not finished yet is tried again for up to a second.
 */
int ns_enter(const struct ns *);

/*
 * For who has entered it: what lies in /etc/netns/NAME as resolv.conf, hosts
 * and nsswitch.conf is seen in /etc from now on, by this process alone. 0 also
 * where there is none; -1 with errno.
 */
int ns_mount_etc(const struct ns *);

/*
 * Runs fn(arg) in the namespace and returns what it returned, errno included.
 * fn runs in a short-lived process that shares memory and descriptors with
 * the caller, which waits: a socket it opens is the caller's. It must not
 * allocate and gets 32 KiB of stack; NULL does nothing there. -1 with errno of
 * ns_enter() or clone(2) and *entered (may be NULL) 0 if it never ran.
 */
int ns_call(const struct ns *, int (*fn)(void *), void *arg, int *entered);

/* True if err says that there is no such namespace, at least not yet. */
bool ns_is_missing(int err);

/*
 * What to tell the user when ns_enter(), ns_call() or ns_identity() failed with
 * err: a clause for the end of an error message, a string constant.
 */
const char *ns_hint(const struct ns *, int err);

#endif
