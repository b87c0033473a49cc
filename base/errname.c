/* Names errors without allocating memory or opening a file. */

#include <errno.h>
#include <netdb.h>
#include <stddef.h>
#include <stdio.h>

#include "base/errname.h"

#include "base/array.h"

/* strerror(3) is not used because it may allocate and open locale files. */
const char *
errno_name(int err)
{
	/* clang-format off */
#define NAME(e) {e, #e}
	static const struct {
		int err;
		const char *name;
	} names[] = {
	    NAME(EACCES), NAME(EADDRINUSE), NAME(EADDRNOTAVAIL),
	    NAME(EAFNOSUPPORT), NAME(EAGAIN), NAME(EBADF), NAME(EBUSY),
	    NAME(ECONNABORTED), NAME(ECONNREFUSED), NAME(ECONNRESET),
	    NAME(EDQUOT), NAME(EEXIST), NAME(EHOSTDOWN), NAME(EHOSTUNREACH),
	    NAME(EINTR), NAME(EINVAL), NAME(EIO), NAME(EISDIR), NAME(ELOOP),
	    NAME(EMFILE), NAME(EMSGSIZE), NAME(ENAMETOOLONG), NAME(ENETDOWN),
	    NAME(ENETUNREACH), NAME(ENFILE), NAME(ENOBUFS), NAME(ENODEV),
	    NAME(ENOENT), NAME(ENOMEM), NAME(ENONET), NAME(ENOPROTOOPT),
	    NAME(ENOSPC), NAME(ENOSYS), NAME(ENOTCONN), NAME(ENOTDIR),
	    NAME(ENOTSOCK), NAME(ENXIO), NAME(EOPNOTSUPP), NAME(EPERM),
	    NAME(EPIPE), NAME(EPROTO), NAME(EPROTONOSUPPORT), NAME(EPROTOTYPE),
	    NAME(EROFS), NAME(ESRCH), NAME(ESTALE), NAME(ETIMEDOUT),
	    NAME(EAI_AGAIN), NAME(EAI_FAIL), NAME(EAI_FAMILY), NAME(EAI_MEMORY),
	    NAME(EAI_NODATA), NAME(EAI_NONAME),
	};
#undef NAME
	/* clang-format on */
	static char other[16];

	for (size_t i = 0; i < ARRAY_LEN(names); i++)
		if (names[i].err == err)
			return names[i].name;
	snprintf(other, sizeof(other), "E%d", err);
	return other;
}
