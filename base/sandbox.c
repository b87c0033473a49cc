/* Takes away: uid, groups, capabilities, new privileges, limits, system calls. */

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <netinet/in.h>
#include <sched.h>
#include <signal.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/types.h>
#include <unistd.h>

#include <linux/audit.h>
#include <linux/capability.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <linux/sockios.h>

#include "base/array.h"
#include "base/sandbox.h"

#if defined(__x86_64__)
#define ARCH AUDIT_ARCH_X86_64
#elif defined(__aarch64__)
#define ARCH AUDIT_ARCH_AARCH64
#endif /* another one does not compile; begin_arg_rule() takes it for little-endian */

/* Standard ones, client, server, epoll, two pipes: all that a relay holds. */
#define RELAY_NOFILE 10
#define PROGRAM_MAX  256
#define CAP(c)       ((uint64_t)1 << CAP_##c)

/* What is longer than this ends without a verdict, which the kernel refuses. */
struct program {
	struct sock_filter code[PROGRAM_MAX];
	unsigned short length;
};

/* clang-format off */

/*
 * What moves the bytes of a connection, and ends it: see relay.c. -1 is no call:
 * it is what strace(1) makes of one that it is told to fail. restart_syscall(2)
 * is what poll(2) becomes in a process that was stopped and goes on.
 */
static const int relay_calls[] = {
	-1,
	SYS_recvfrom, SYS_sendto, SYS_splice, SYS_pipe2, SYS_shutdown,
	SYS_close, SYS_epoll_create1, SYS_epoll_ctl, SYS_epoll_pwait,
	SYS_clock_gettime, SYS_exit_group, SYS_restart_syscall,
#ifdef SYS_epoll_wait
	SYS_epoll_wait,
#endif
};

/* A mapper also logs, connects, and sets what a socket has. */
static const int mapper_calls[] = {
	SYS_write, SYS_ppoll, SYS_connect, SYS_setsockopt, SYS_getsockopt,
	SYS_getsockname, SYS_getpeername,
#ifdef SYS_poll
	SYS_poll,
#endif
};

/* Accepts, forks, reaps; its connections close what is not theirs. */
static const int tcp_calls[] = {
	SYS_accept4, SYS_wait4, SYS_read, SYS_kill, SYS_dup3, SYS_close_range,
	SYS_rt_sigprocmask, SYS_set_robust_list, SYS_set_tid_address,
	SYS_gettid, SYS_getpid,
#ifdef SYS_fork
	SYS_fork,
#endif
};

/* What is no socket is read and written, and waited for by poll(2). */
static const int stdio_calls[] = {
	SYS_read, SYS_write, SYS_ppoll,
#ifdef SYS_poll
	SYS_poll,
#endif
};

/* getaddrinfo(3) of glibc, with its modules, and of musl. */
static const int names_calls[] = {
	SYS_openat, SYS_read, SYS_readv, SYS_pread64, SYS_lseek, SYS_fstat,
	SYS_newfstatat, SYS_statx, SYS_faccessat, SYS_readlinkat,
	SYS_getdents64, SYS_mmap, SYS_munmap, SYS_mprotect, SYS_mremap,
	SYS_madvise, SYS_brk, SYS_futex, SYS_getrandom, SYS_uname,
	SYS_sysinfo, SYS_bind, SYS_sendmmsg, SYS_sendmsg, SYS_recvmsg,
	SYS_getuid, SYS_geteuid, SYS_getgid, SYS_getegid, SYS_getpid,
	SYS_gettid, SYS_setitimer, SYS_rt_sigaction, SYS_rt_sigprocmask,
	SYS_gettimeofday, SYS_clock_nanosleep,
#ifdef SYS_open
	SYS_open, SYS_stat, SYS_lstat, SYS_access, SYS_readlink, SYS_time,
#endif
};
/* clang-format on */

static void
set_limit(int what, rlim_t value)
{
	const struct rlimit to = {value, value};

	setrlimit(what, &to);
}

/*
 * Of those that one has, for good: in all five sets, the bounding one where one
 * may. What is wanted and not there is EPERM.
 */
static int
set_capabilities(uint64_t keep)
{
	struct __user_cap_header_struct header = {_LINUX_CAPABILITY_VERSION_3,
	    0};
	struct __user_cap_data_struct data[2] = {{0}};

	for (int i = 0; i < 2; i++)
		data[i].permitted = data[i].effective =
		    (uint32_t)(keep >> 32 * i);
	for (int cap = 0; prctl(PR_CAPBSET_DROP, cap) == 0; cap++)
		;
	prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0);
	if (syscall(SYS_capset, &header, data) == -1)
		return -1;
	return prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
}

/*
 * Whoever is no root, or in a user namespace that does not map the user, stays
 * who it is: everything else goes all the same. Groups only root can leave.
 */
static bool
is_fatal_refusal(const struct cred *cred, int result)
{
	return result == -1 &&
	    (cred->explicit || (errno != EPERM && errno != EINVAL));
}

int
sandbox_drop_privileges(const struct cred *cred, bool network)
{
	const uid_t uid = cred->uid;
	const gid_t gid = cred->gid;

	prctl(PR_SET_KEEPCAPS, network);
	if ((setgroups(0, NULL) == -1 && errno != EPERM) ||
	    is_fatal_refusal(cred, setresgid(gid, gid, gid)) ||
	    is_fatal_refusal(cred, setresuid(uid, uid, uid)) ||
	    set_capabilities(network ? CAP(NET_ADMIN) : 0) == -1)
		return -1;
	set_limit(RLIMIT_CORE, 0);
	set_limit(RLIMIT_MEMLOCK, 0);
	sandbox_no_ptrace();
	return 0;
}

void
sandbox_no_ptrace(void)
{
	prctl(PR_SET_DUMPABLE, 0);
}

int
sandbox_limit_caps(void)
{
	/* In this order: to enter namespaces, and those of processes; UNIX
	 * sockets and paths of others; low ports; room for datagrams; the
	 * mappers' drop, and to end them. */
	const uint64_t wanted = CAP(SYS_ADMIN) | CAP(SYS_PTRACE) |
	    CAP(DAC_OVERRIDE) | CAP(CHOWN) | CAP(NET_BIND_SERVICE) |
	    CAP(NET_ADMIN) | CAP(SETUID) | CAP(SETGID) | CAP(SETPCAP) |
	    CAP(KILL);
	struct __user_cap_header_struct header = {_LINUX_CAPABILITY_VERSION_3,
	    0};
	struct __user_cap_data_struct has[2] = {{0}};

	if (syscall(SYS_capget, &header, has) == -1)
		return -1;
	return set_capabilities(
	    wanted & (has[0].permitted | (uint64_t)has[1].permitted << 32));
}

int
sandbox_die_with_parent(pid_t parent)
{
	errno = ESRCH;
	return prctl(PR_SET_PDEATHSIG, SIGKILL) == 0 && getppid() == parent
	    ? 0
	    : -1;
}

int
sandbox_adopt(void)
{
	return prctl(PR_SET_CHILD_SUBREAPER, 1);
}

void
sandbox_set_rlimits(void)
{
#ifndef NO_SECCOMP
	set_limit(RLIMIT_NOFILE, RELAY_NOFILE);
	set_limit(RLIMIT_NPROC, 0);
#endif
}

static void
emit(struct program *p, unsigned code, uint32_t k, unsigned yes, unsigned no)
{
	if (p->length < PROGRAM_MAX)
		p->code[p->length++] =
		    (struct sock_filter){(unsigned short)code,
			(unsigned char)yes, (unsigned char)no, k};
}

static void
load(struct program *p, size_t offset)
{
	emit(p, BPF_LD | BPF_W | BPF_ABS, (uint32_t)offset, 0, 0);
}

static void
verdict(struct program *p, uint32_t action)
{
	emit(p, BPF_RET | BPF_K, action, 0, 0);
}

/* Lets through if what was loaded last is one of these. */
static void
allow(struct program *p, const int *values, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		emit(p, BPF_JMP | BPF_JEQ | BPF_K, (uint32_t)values[i], 0, 1);
		verdict(p, SECCOMP_RET_ALLOW);
	}
}
#define ALLOW(p, ...)                        \
	allow(p, (const int[]){__VA_ARGS__}, \
	    ARRAY_LEN(((const int[]){__VA_ARGS__})))

/*
 * Between begin_arg_rule() and end_arg_rule() stands what decides on one call, by the lower half
 * of an argument: all that are looked at are of 32 bits, or the kernel itself
 * reads no more of them (the flags of clone).
 */
static unsigned short
begin_arg_rule(struct program *p, int call, int argument)
{
	emit(p, BPF_JMP | BPF_JEQ | BPF_K, (uint32_t)call, 0, 0);
	load(p, offsetof(struct seccomp_data, args[argument]));
	return (unsigned short)(p->length - 2);
}

static void
end_arg_rule(struct program *p, unsigned short at)
{
	verdict(p, SECCOMP_RET_KILL_PROCESS);
	p->code[at].jf = (unsigned char)(p->length - at - 1);
}
#define ALLOW_WITH(p, call, argument, ...)                              \
	do {                                                            \
		unsigned short at_ = begin_arg_rule(p, call, argument); \
		ALLOW(p, __VA_ARGS__);                                  \
		end_arg_rule(p, at_);                                   \
	} while (0)

/* fork(2), but no new namespace and no shared memory; see clone(2). */
static void
allow_fork(struct program *p)
{
	const uint32_t never = CLONE_NEWNS | CLONE_NEWUTS | CLONE_NEWIPC |
	    CLONE_NEWUSER | CLONE_NEWPID | CLONE_NEWNET | CLONE_NEWCGROUP |
	    CLONE_VM | CLONE_PTRACE;
	unsigned short at = begin_arg_rule(p, SYS_clone, 0);

	emit(p, BPF_JMP | BPF_JSET | BPF_K, never, 1, 0);
	verdict(p, SECCOMP_RET_ALLOW);
	end_arg_rule(p, at);
}

/*
 * No protocol but TCP and UDP, whatever else a kernel may have or load. A
 * resolver may not ask a daemon of the file system, such as nscd, which would
 * answer from another namespace: it hears that there is none. What looks up
 * the number of an interface is a datagram socket.
 */
static void
allow_socket(struct program *p, unsigned role)
{
	unsigned short at = begin_arg_rule(p, SYS_socket, 1);

	emit(p, BPF_ALU | BPF_AND | BPF_K, 0xf, 0, 0);
	emit(p, BPF_JMP | BPF_JGT | BPF_K, SOCK_RAW, 4, 0);
	load(p, offsetof(struct seccomp_data, args[2]));
	emit(p, BPF_JMP | BPF_JEQ | BPF_K, 0, 3, 0);
	emit(p, BPF_JMP | BPF_JEQ | BPF_K, IPPROTO_TCP, 2, 0);
	emit(p, BPF_JMP | BPF_JEQ | BPF_K, IPPROTO_UDP, 1, 0);
	verdict(p, SECCOMP_RET_KILL_PROCESS);
	load(p, offsetof(struct seccomp_data, args[0]));
	ALLOW(p, AF_INET, AF_INET6, (role & SANDBOX_UNIX) ? AF_UNIX : AF_INET,
	    (role & SANDBOX_NAMES) ? AF_NETLINK : AF_INET);
	if (role & SANDBOX_NAMES) {
		emit(p, BPF_JMP | BPF_JEQ | BPF_K, AF_UNIX, 0, 5);
		load(p, offsetof(struct seccomp_data, args[1]));
		emit(p, BPF_ALU | BPF_AND | BPF_K, 0xf, 0, 0);
		ALLOW(p, SOCK_DGRAM);
		verdict(p, SECCOMP_RET_ERRNO | EAFNOSUPPORT);
	}
	end_arg_rule(p, at);
}

static void
build_mapper(struct program *p, unsigned role)
{
	allow(p, mapper_calls, ARRAY_LEN(mapper_calls));
	if (role & SANDBOX_TCP) {
		allow(p, tcp_calls, ARRAY_LEN(tcp_calls));
		ALLOW_WITH(p, SYS_prlimit64, 0, 0); /* of oneself */
		allow_fork(p);
	}
	if (role & SANDBOX_UDP)
		ALLOW(p, SYS_recvmmsg, SYS_sendmmsg);
	if (role & SANDBOX_NAMES) /* all of madvise(2), for malloc(3) */
		allow(p, names_calls, ARRAY_LEN(names_calls));
	else
		ALLOW_WITH(p, SYS_madvise, 2, MADV_DONTNEED);
	if (role & SANDBOX_MAY_NARROW)
		ALLOW(p, SYS_seccomp);
	if (role & SANDBOX_STDIO) {
		allow(p, stdio_calls, ARRAY_LEN(stdio_calls));
		ALLOW_WITH(p, SYS_prlimit64, 0, 0);
	}
	if (role & SANDBOX_BIND)
		ALLOW(p, SYS_bind);
	allow_socket(p, role);
	ALLOW_WITH(p, SYS_ioctl, 1, SIOCGIFINDEX, FIONREAD, SIOCOUTQ,
	    SIOCOUTQNSD);
	ALLOW_WITH(p, SYS_fcntl, 1, F_GETPIPE_SZ, F_SETPIPE_SZ, F_GETFL,
	    F_SETFL, F_GETFD, F_SETFD);
}

static void
build(struct program *p, unsigned role)
{
	load(p, offsetof(struct seccomp_data, arch));
	emit(p, BPF_JMP | BPF_JEQ | BPF_K, ARCH, 1, 0);
	verdict(p, SECCOMP_RET_KILL_PROCESS);
	load(p, offsetof(struct seccomp_data, nr));
	allow(p, relay_calls, ARRAY_LEN(relay_calls));
	if (role == SANDBOX_RELAY || role == SANDBOX_STDIO) {
		ALLOW_WITH(p, SYS_madvise, 2, MADV_DONTNEED);
		ALLOW_WITH(p, SYS_fcntl, 1, F_GETPIPE_SZ, F_SETPIPE_SZ);
		ALLOW_WITH(p, SYS_setsockopt, 2, SO_LINGER);
		ALLOW_WITH(p, SYS_ioctl, 1, SIOCOUTQ, SIOCOUTQNSD);
		if (role)
			allow(p, stdio_calls, ARRAY_LEN(stdio_calls));
	} else {
		build_mapper(p, role);
	}
	verdict(p, SECCOMP_RET_KILL_PROCESS);
}

/*
 * No file (who resolves names reads them), and no signal to, or abstract socket
 * of, anybody outside: landlock(7), a second layer where the kernel has it.
 */
static void
landlock(unsigned role)
{
	static const unsigned rights[] = {0, 13, 14, 15, 15, 16};
	/* Of files, of ports, of scopes. */
	uint64_t rules[3] = {0, 0, role & SANDBOX_UNIX ? 2 : 3};
	long version = syscall(SYS_landlock_create_ruleset, NULL, 0, 1);
	long fd;

	if (version < 1)
		return;
	rules[0] = (1u << rights[version < 5 ? version : 5]) - 1;
	if (role & SANDBOX_NAMES)
		rules[0] &= ~(uint64_t)(1u << 2 | 1u << 3);
	fd = syscall(SYS_landlock_create_ruleset, rules,
	    sizeof(*rules) * (version < 6 ? 1 : 3), 0);
	if (fd == -1)
		return;
	syscall(SYS_landlock_restrict_self, fd, 0);
	close((int)fd);
}

int
sandbox_seccomp(unsigned role)
{
	struct program p = {.length = 0};
	struct sock_fprog program = {.filter = p.code};

#ifdef NO_SECCOMP
	return 0;
#endif
	if (role & ~SANDBOX_STDIO)
		landlock(role);
	build(&p, role);
	program.len = p.length;
	return (int)syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, &program);
}
