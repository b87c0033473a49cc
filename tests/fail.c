/*
 * Wraps functions that allocate memory, by -Wl,--wrap (T29, see long.bats). In
 * each process, call number $FAIL of these fails with ENOMEM and writes a line
 * to standard error.
 */

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

static int
unlucky(void)
{
	static long count = -1;
	static const char said[] = "fail: this one\n";
	const char *nth = getenv("FAIL");

	if (count == -1)
		count = nth ? atol(nth) : 0;
	if (count == 0 || --count > 0)
		return 0;
	errno = write(STDERR_FILENO, said, sizeof(said) - 1) ? ENOMEM : EIO;
	return 1;
}

#define WRAP(type, name, failed, parameters, arguments) \
	type __real_##name parameters;                  \
	type __wrap_##name parameters;                  \
	type __wrap_##name parameters                   \
	{                                               \
		if (unlucky())                          \
			return failed;                  \
		return __real_##name arguments;         \
	}

WRAP(void *, malloc, NULL, (size_t size), (size))
WRAP(void *, calloc, NULL, (size_t n, size_t size), (n, size))
WRAP(void *, realloc, NULL, (void *old, size_t size), (old, size))
WRAP(void *, reallocarray, NULL, (void *old, size_t n, size_t size),
    (old, n, size))
WRAP(char *, strdup, NULL, (const char *text), (text))
WRAP(char *, strndup, NULL, (const char *text, size_t n), (text, n))
WRAP(void *, mmap, MAP_FAILED,
    (void *at, size_t size, int prot, int flags, int fd, off_t offset),
    (at, size, prot, flags, fd, offset))
WRAP(FILE *, fopen, NULL, (const char *path, const char *mode), (path, mode))
WRAP(FILE *, open_memstream, NULL, (char **text, size_t *size), (text, size))

int __wrap_asprintf(char **text, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
int
__wrap_asprintf(char **text, const char *format, ...)
{
	va_list list;
	int n = -1;

	if (unlucky())
		return -1;
	va_start(list, format);
	n = vasprintf(text, format, list);
	va_end(list);
	return n;
}
