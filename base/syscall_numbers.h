/* Numbers of system calls that an older C library lacks: syscalls(2). */

#ifndef BASE_SYSCALL_NUMBERS_H
#define BASE_SYSCALL_NUMBERS_H

#include <sys/syscall.h>

/* From 424 on, a system call has the same number on every architecture. */
#ifndef SYS_close_range
#define SYS_close_range 436 /* since Linux 5.9 */
#endif
#ifndef SYS_openat2
#define SYS_openat2 437 /* since Linux 5.6 */
#endif
#ifndef SYS_landlock_create_ruleset
#define SYS_landlock_create_ruleset 444 /* since Linux 5.13 */
#define SYS_landlock_add_rule       445
#define SYS_landlock_restrict_self  446
#endif
#ifndef SYS_mseal
#define SYS_mseal 462 /* since Linux 6.10 */
#endif

#endif
