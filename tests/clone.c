/*
 * Replaces clone(2) for `make valgrind`, because valgrind does not support the
 * clone(2) of netns.c. The helper is a thread instead, which shares memory and
 * descriptors with its caller and has ended when clone() returns.
 */

#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <stddef.h>

struct helper {
	int (*fn)(void *);
	void *arg;
	int error;
};

static void *
help(void *arg)
{
	struct helper *helper = arg;

	errno = helper->error;
	helper->fn(helper->arg);
	helper->error = errno;
	return NULL;
}

/*
 * Returns a pid of no process: waitpid(2) fails, and its caller ignores that.
 */
int
clone(int (*fn)(void *), void *stack, int flags, void *arg, ...)
{
	struct helper helper = {fn, arg, errno};
	pthread_t thread;

	(void)stack;
	(void)flags;
	errno = pthread_create(&thread, NULL, help, &helper);
	if (errno)
		return -1;
	pthread_join(thread, NULL);
	errno = helper.error;
	return 0x7fffffff;
}
