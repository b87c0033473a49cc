/* Names errors without allocating memory or opening a file. */

#include <errno.h>
#include <stdbool.h>
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
	    NAME(EDQUOT), NAME(EEXIST), NAME(EFBIG), NAME(EHOSTDOWN),
	    NAME(EHOSTUNREACH),
	    NAME(EINTR), NAME(EINVAL), NAME(EIO), NAME(EISDIR), NAME(ELOOP),
	    NAME(EMFILE), NAME(EMSGSIZE), NAME(ENAMETOOLONG), NAME(ENETDOWN),
	    NAME(ENETUNREACH), NAME(ENFILE), NAME(ENOBUFS), NAME(ENODEV),
	    NAME(ENOENT), NAME(ENOMEM), NAME(ENONET), NAME(ENOPROTOOPT),
	    NAME(ENOSPC), NAME(ENOSYS), NAME(ENOTCONN), NAME(ENOTDIR),
	    NAME(ENOTSOCK), NAME(ENXIO), NAME(EOPNOTSUPP), NAME(EPERM),
	    NAME(EPIPE), NAME(EPROTO), NAME(EPROTONOSUPPORT), NAME(EPROTOTYPE),
	    NAME(EROFS), NAME(ESRCH), NAME(ESTALE), NAME(ETIMEDOUT),
	    {NAME_UNKNOWN, "no-such-name"}, {NAME_NO_ADDRESS, "no-address"},
	    {NAME_FAILED, "name-server-failed"},
	    {NAME_REFUSED, "name-server-refused"},
	    {NAME_NO_ANSWER, "no-answer"},
	    {NAME_BAD_FILE, "bad-resolv.conf-or-hosts"},
	    {NAME_INVALID, "not-a-host-name"},
	    {NAME_NOT_ASCII, "name-not-ascii"}, {NAME_ALIASES, "alias-loop"},
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

bool
errno_is_shortage(int err)
{
	return err == EMFILE || err == ENFILE || err == ENOBUFS ||
	    err == ENOMEM;
}
