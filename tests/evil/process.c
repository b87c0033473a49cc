/* Attacks on processes: fork, signals, limits, and calls that nobody needs. */

#include <sched.h>
#include <signal.h>
#include <stddef.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "tests/evil/evil.h"

static long
call(long nr)
{
	return result(syscall(nr, 0, 0, 0, 0, 0, 0));
}

/* Forks until that fails. Returns how many processes there are. */
static long
fork_with(long flags)
{
	long n = 0, pid;

	while (n < 20 && (pid = syscall(SYS_clone, flags, 0, 0, 0, 0)) >= 0) {
		if (pid == 0)
			for (;;)
				syscall(SYS_recvfrom, -1, 0, 0, 0, 0, 0);
		n++;
	}
	return n ? n : -errno;
}

static long
do_fork(void)
{
	return fork_with(SIGCHLD);
}

static long
do_clone_parent(void)
{
	return fork_with(SIGCHLD | CLONE_PARENT);
}

static long
do_clone_untraced(void)
{
	return fork_with(SIGCHLD | CLONE_UNTRACED);
}

static long
do_clone_nosignal(void)
{
	return fork_with(0);
}

static long
do_thread(void)
{
	return fork_with(CLONE_VM | CLONE_SIGHAND | CLONE_THREAD);
}

static long
do_userns(void)
{
	return fork_with(CLONE_NEWUSER | SIGCHLD);
}

static long
do_kill_mapper(void)
{
	return result(syscall(SYS_kill, mapper, SIGKILL));
}

static long
do_stop_mapper(void)
{
	return result(syscall(SYS_kill, mapper, SIGSTOP));
}

static long
do_cont_mapper(void)
{
	return result(syscall(SYS_kill, mapper, SIGCONT));
}

static long
do_kill_all(void)
{
	return result(syscall(SYS_kill, -1, 0));
}

static long
do_kill_group(void)
{
	return result(syscall(SYS_kill, 0, SIGKILL));
}

static long
do_stop_self(void)
{
	return result(syscall(SYS_kill, getpid(), SIGSTOP));
}

static long
do_tgkill(void)
{
	return result(syscall(SYS_tgkill, mapper, mapper, SIGKILL));
}

static long
do_limit_of_mapper(void)
{
	const struct rlimit none = {0, 0};

	return result(
	    syscall(SYS_prlimit64, mapper, RLIMIT_NOFILE, &none, NULL));
}

static long
do_raise_limit(void)
{
	const struct rlimit all = {1000, 1000};

	return result(syscall(SYS_prlimit64, 0, RLIMIT_NPROC, &all, NULL));
}

#define CALL(name)                       \
	static long do_##name(void)      \
	{                                \
		return call(SYS_##name); \
	}
CALL(execve)
CALL(ptrace)
CALL(process_vm_writev)
CALL(process_vm_readv)
CALL(io_uring_setup)
CALL(bpf)
CALL(userfaultfd)
CALL(keyctl)
CALL(add_key)
CALL(unshare)
CALL(setns)
CALL(chroot)
CALL(pivot_root)
CALL(mount)
CALL(listen)
CALL(pidfd_open)
CALL(pidfd_getfd)
CALL(pidfd_send_signal)
CALL(memfd_create)
CALL(shmget)
CALL(perf_event_open)
CALL(prctl)
CALL(setuid)
CALL(setpgid)
CALL(clone3)
CALL(init_module)
CALL(reboot)
CALL(ioperm)
CALL(modify_ldt)
CALL(timer_create)
CALL(inotify_init1)
CALL(sched_setattr)
CALL(mlock)
CALL(unlinkat)
CALL(symlinkat)
CALL(futex)
CALL(flock)

/* clang-format off */
const struct attack process_attacks[] = {
	ATTACK(fork), ATTACK(clone_parent), ATTACK(clone_untraced),
	ATTACK(clone_nosignal), ATTACK(thread), ATTACK(userns),
	ATTACK(kill_mapper), ATTACK(stop_mapper), ATTACK(cont_mapper),
	ATTACK(kill_all), ATTACK(kill_group), ATTACK(stop_self),
	ATTACK(tgkill), ATTACK(limit_of_mapper), ATTACK(raise_limit),
	ATTACK(execve), ATTACK(ptrace), ATTACK(process_vm_writev),
	ATTACK(process_vm_readv), ATTACK(io_uring_setup), ATTACK(bpf),
	ATTACK(userfaultfd), ATTACK(keyctl), ATTACK(add_key), ATTACK(unshare),
	ATTACK(setns), ATTACK(chroot), ATTACK(pivot_root), ATTACK(mount),
	ATTACK(listen), ATTACK(pidfd_open), ATTACK(pidfd_getfd),
	ATTACK(pidfd_send_signal), ATTACK(memfd_create), ATTACK(shmget),
	ATTACK(perf_event_open), ATTACK(prctl), ATTACK(setuid),
	ATTACK(setpgid), ATTACK(clone3), ATTACK(init_module), ATTACK(reboot),
	ATTACK(ioperm), ATTACK(modify_ldt), ATTACK(timer_create),
	ATTACK(inotify_init1), ATTACK(sched_setattr), ATTACK(mlock),
	ATTACK(unlinkat), ATTACK(symlinkat), ATTACK(futex), ATTACK(flock),
	{0},
};
/* clang-format on */
