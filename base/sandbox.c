/* Drops privileges, sets resource limits and installs system call filters. */

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

#include "base/sandbox.h"

#include "base/array.h"

#if defined(__x86_64__)
#define ARCH AUDIT_ARCH_X86_64
#elif defined(__aarch64__)
#define ARCH AUDIT_ARCH_AARCH64
#endif /* both are little-endian, which begin_arg_rule() relies on */

/*
 * Descriptors: 0 to 2, client, channel, two directories and a file of names,
 * target, two queries. A relay has ten; an association up to 64 of queries.
 */
#define CONN_NOFILE 11
#define UDP_NOFILE  80
#define PROGRAM_MAX 256
#define CAP(c)      ((uint64_t)1 << CAP_##c)

/*
 * A filter. If the rules do not fit into code[], the filter has no verdict at
 * its end, so that the kernel refuses it.
 */
struct bpf_program {
	struct sock_filter code[PROGRAM_MAX];
	unsigned short length;
};

/* clang-format off */

/*
 * Calls of relay.c. strace(1) makes a call fail by replacing its number by -1.
 * restart_syscall(2) continues a poll(2) that SIGSTOP interrupted.
 */
static const int relay_calls[] = {
	-1,
	SYS_recvfrom, SYS_sendto, SYS_splice, SYS_pipe2, SYS_shutdown,
	SYS_close, SYS_epoll_create1, SYS_epoll_ctl, SYS_epoll_pwait,
	SYS_clock_gettime, SYS_exit_group, SYS_restart_syscall, SYS_ppoll,
#ifdef SYS_poll
	SYS_poll,
#endif
#ifdef SYS_epoll_wait
	SYS_epoll_wait,
#endif
};

/* Calls to log, connect and set socket options: see build_full(). */
static const int socket_calls[] = {
	SYS_write, SYS_ppoll, SYS_connect, SYS_setsockopt, SYS_getsockopt,
	SYS_getsockname, SYS_getpeername,
#ifdef SYS_poll
	SYS_poll,
#endif
};

/* Calls to fork and reap, and of the child before it reads. */
static const int fork_calls[] = {
	SYS_wait4, SYS_read, SYS_dup3, SYS_close_range, SYS_rt_sigprocmask,
	SYS_set_robust_list, SYS_set_tid_address, SYS_gettid, SYS_getpid,
#ifdef SYS_fork
	SYS_fork,
#endif
};

/* Calls for files that are no sockets, which epoll(7) may refuse. */
static const int stdio_calls[] = {
	SYS_read, SYS_write, SYS_ppoll,
#ifdef SYS_poll
	SYS_poll,
#endif
};

/* Calls of dns/, which opens and reads files. */
static const int names_calls[] = {
	SYS_openat, SYS_openat2, SYS_read, SYS_fstat, SYS_newfstatat,
	SYS_getrandom,
};

/* clang-format on */

static void
set_limit(int resource, rlim_t value)
{
	const struct rlimit limit = {value, value};

	setrlimit(resource, &limit);
}

/*
 * Limits the bounding set, which stays as it is if the process may not change
 * it: what a program that is executed may have.
 */
static void
limit_bounding_set(uint64_t keep)
{
	for (int cap = 0; cap < 64; cap++)
		if (!(keep >> cap & 1))
			prctl(PR_CAPBSET_DROP, cap);
}

/*
 * Limits the other four capability sets to keep, permanently. Returns 0; or -1
 * with errno, EPERM if keep has a capability that is not permitted.
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
	prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0);
	if (syscall(SYS_capset, &header, data) == -1)
		return -1;
	return prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
}

/*
 * Returns true if a call failed that must not. EPERM (this process is not root)
 * and EINVAL (its user namespace does not map the user) are tolerated if the
 * user was not set explicitly: then the user stays the same.
 */
static bool
is_fatal_refusal(const struct cred *cred, int result)
{
	return result == -1 &&
	    (cred->explicit || (errno != EPERM && errno != EINVAL));
}

int
sandbox_drop_privileges(const struct cred *cred, enum sandbox_keep keep)
{
	const uid_t uid = cred->uid;
	const gid_t gid = cred->gid;
	const uint64_t caps = keep == KEEP_MARK ? CAP(NET_ADMIN)
	    : keep == KEEP_LOW_PORTS            ? CAP(NET_BIND_SERVICE)
						: 0;

	limit_bounding_set(0); /* while CAP_SETPCAP is there */
	prctl(PR_SET_KEEPCAPS, caps != 0);
	/* Only root can drop groups. */
	if ((setgroups(0, NULL) == -1 && errno != EPERM) ||
	    is_fatal_refusal(cred, setresgid(gid, gid, gid)) ||
	    is_fatal_refusal(cred, setresuid(uid, uid, uid)) ||
	    set_capabilities(caps) == -1)
		return -1;
	set_limit(RLIMIT_CORE, 0);
	set_limit(RLIMIT_MEMLOCK, 0);
	sandbox_no_ptrace();
	return 0;
}

/* Makes the system calls itself, because the process may share its memory. */
int
sandbox_access(const struct cred *cred, const char *path, uid_t *uid)
{
	const uid_t id = cred->uid;
	const gid_t gid = cred->gid;

	syscall(SYS_setgroups, 0, NULL);
	syscall(SYS_setresgid, gid, gid, gid);
	syscall(SYS_setresuid, id, id, id);
	*uid = (uid_t)syscall(SYS_getuid);
	return access(path, W_OK);
}

void
sandbox_no_ptrace(void)
{
	prctl(PR_SET_DUMPABLE, 0);
}

int
sandbox_limit_caps(void)
{
	/*
	 * SYS_ADMIN and SYS_PTRACE enter namespaces. DAC_OVERRIDE and CHOWN are
	 * for UNIX sockets, NET_BIND_SERVICE for low ports, NET_ADMIN for large
	 * buffers. Children need SETUID, SETGID and SETPCAP to drop their
	 * privileges. The server needs KILL to signal children of another user.
	 */
	const uint64_t wanted = CAP(SYS_ADMIN) | CAP(SYS_PTRACE) |
	    CAP(DAC_OVERRIDE) | CAP(CHOWN) | CAP(NET_BIND_SERVICE) |
	    CAP(NET_ADMIN) | CAP(SETUID) | CAP(SETGID) | CAP(SETPCAP) |
	    CAP(KILL);
	struct __user_cap_header_struct header = {_LINUX_CAPABILITY_VERSION_3,
	    0};
	struct __user_cap_data_struct has[2] = {{0}};

	if (syscall(SYS_capget, &header, has) == -1)
		return -1;
	limit_bounding_set(wanted);
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
sandbox_set_rlimits(bool datagrams)
{
#ifdef NO_SECCOMP
	(void)datagrams;
#else
	set_limit(RLIMIT_NOFILE, datagrams ? UDP_NOFILE : CONN_NOFILE);
	set_limit(RLIMIT_NPROC, 0);
#endif
}

void
sandbox_keep_caps_over_exec(void)
{
	struct __user_cap_header_struct header = {_LINUX_CAPABILITY_VERSION_3,
	    0};
	struct __user_cap_data_struct has[2] = {{0}};

	if (syscall(SYS_capget, &header, has) == -1)
		return;
	for (int i = 0; i < 2; i++)
		has[i].inheritable = has[i].permitted;
	if (syscall(SYS_capset, &header, has) == -1)
		return;
	for (int cap = 0; cap < 64; cap++)
		if (has[cap / 32].permitted & 1u << cap % 32)
			prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, cap, 0, 0);
}

/* Appends an instruction that skips yes or no instructions if it is a jump. */
static void
emit(struct bpf_program *p, unsigned code, uint32_t k, unsigned yes,
    unsigned no)
{
	if (p->length < PROGRAM_MAX)
		p->code[p->length++] =
		    (struct sock_filter){(unsigned short)code,
			(unsigned char)yes, (unsigned char)no, k};
}

/* Loads a 32-bit field of struct seccomp_data. */
static void
load(struct bpf_program *p, size_t offset)
{
	emit(p, BPF_LD | BPF_W | BPF_ABS, (uint32_t)offset, 0, 0);
}

static void
verdict(struct bpf_program *p, uint32_t action)
{
	emit(p, BPF_RET | BPF_K, action, 0, 0);
}

/* Allows the call if the value loaded last is one of n. */
static void
allow(struct bpf_program *p, const int *values, size_t n)
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
 * Starts a rule for one call, by the lower 32 bits of an argument, because the
 * kernel uses no more of the arguments that are checked. end_arg_rule() ends
 * the rule. Returns the position of the jump that end_arg_rule() completes.
 */
static unsigned short
begin_arg_rule(struct bpf_program *p, int call, int arg)
{
	emit(p, BPF_JMP | BPF_JEQ | BPF_K, (uint32_t)call, 0, 0);
	load(p, offsetof(struct seccomp_data, args[arg]));
	return (unsigned short)(p->length - 2);
}

/* Ends a rule: kills on any value that the rule did not allow. */
static void
end_arg_rule(struct bpf_program *p, unsigned short at)
{
	verdict(p, SECCOMP_RET_KILL_PROCESS);
	p->code[at].jf = (unsigned char)(p->length - at - 1);
}
#define ALLOW_ARG(p, call, arg, ...)                               \
	do {                                                       \
		unsigned short at_ = begin_arg_rule(p, call, arg); \
		ALLOW(p, __VA_ARGS__);                             \
		end_arg_rule(p, at_);                              \
	} while (0)

/* Allows fork(2) with the flags of both libcs, and to continue processes. */
static void
allow_fork(struct bpf_program *p)
{
	allow(p, fork_calls, ARRAY_LEN(fork_calls));
	ALLOW_ARG(p, SYS_clone, 0, SIGCHLD,
	    SIGCHLD | CLONE_CHILD_SETTID | CLONE_CHILD_CLEARTID);
	ALLOW_ARG(p, SYS_kill, 1, SIGCONT);
	ALLOW_ARG(p, SYS_prlimit64, 0, 0); /* only of this process */
}

/* Allows malloc(3), without memory that is or becomes executable. */
static void
allow_malloc(struct bpf_program *p)
{
	ALLOW(p, SYS_brk, SYS_munmap);
	ALLOW_ARG(p, SYS_mmap, 2, PROT_NONE, PROT_READ | PROT_WRITE);
	ALLOW_ARG(p, SYS_mprotect, 2, PROT_READ | PROT_WRITE);
}

/*
 * Allows socket(2) for TCP and UDP only, so that no other protocol of the
 * kernel can be attacked. With SANDBOX_UNIX, UNIX sockets are allowed as well.
 * With SANDBOX_PROXY, UNIX datagram sockets are, because interface indexes are
 * looked up by them.
 */
static void
allow_socket(struct bpf_program *p, unsigned flags)
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
	ALLOW(p, AF_INET, AF_INET6, (flags & SANDBOX_UNIX) ? AF_UNIX : AF_INET);
	if (flags & SANDBOX_PROXY) {
		emit(p, BPF_JMP | BPF_JEQ | BPF_K, AF_UNIX, 0, 4);
		load(p, offsetof(struct seccomp_data, args[1]));
		emit(p, BPF_ALU | BPF_AND | BPF_K, 0xf, 0, 0);
		ALLOW(p, SOCK_DGRAM);
	}
	end_arg_rule(p, at);
}

/*
 * Allows the calls of all roles. SANDBOX_RELAY alone and SANDBOX_STDIO alone
 * have filters of their own.
 */
static void
build_full(struct bpf_program *p, unsigned flags)
{
	allow(p, socket_calls, ARRAY_LEN(socket_calls));
	if (flags & SANDBOX_TCP)
		ALLOW(p, SYS_accept4);
	if (flags & SANDBOX_FORK)
		allow_fork(p);
	if (flags & SANDBOX_HANDOVER) {
		ALLOW(p, SYS_sendmsg, SYS_recvmsg, SYS_recvmmsg, SYS_sendmmsg);
		ALLOW_ARG(p, SYS_socketpair, 0, AF_UNIX);
	}
	if (flags & SANDBOX_POOL)
		ALLOW_ARG(p, SYS_mprotect, 2, PROT_NONE, PROT_READ);
	if (flags & SANDBOX_UDP)
		ALLOW(p, SYS_recvmmsg, SYS_sendmmsg);
	if (flags & SANDBOX_NAMES)
		allow(p, names_calls, ARRAY_LEN(names_calls));
	if (flags & SANDBOX_PROXY)
		allow_malloc(p);
	ALLOW_ARG(p, SYS_madvise, 2, MADV_DONTNEED,
	    (flags & SANDBOX_PROXY) ? MADV_FREE : MADV_DONTNEED);
	if (flags & SANDBOX_MAY_NARROW)
		ALLOW(p, SYS_seccomp);
	if (flags & SANDBOX_STDIO) {
		ALLOW(p, SYS_read);
		ALLOW_ARG(p, SYS_prlimit64, 0, 0);
	}
	if (flags & SANDBOX_BIND)
		ALLOW(p, SYS_bind);
	allow_socket(p, flags);
	ALLOW_ARG(p, SYS_ioctl, 1, SIOCGIFINDEX, FIONREAD, SIOCOUTQ,
	    SIOCOUTQNSD);
	ALLOW_ARG(p, SYS_fcntl, 1, F_GETPIPE_SZ, F_SETPIPE_SZ, F_GETFL, F_GETFD,
	    F_SETFD); /* no F_SETFL: the file can be shared */
}

static void
build(struct bpf_program *p, unsigned flags)
{
	load(p, offsetof(struct seccomp_data, arch));
	emit(p, BPF_JMP | BPF_JEQ | BPF_K, ARCH, 1, 0);
	verdict(p, SECCOMP_RET_KILL_PROCESS);
	load(p, offsetof(struct seccomp_data, nr));
	allow(p, relay_calls, ARRAY_LEN(relay_calls));
	if (flags == SANDBOX_RELAY || flags == SANDBOX_STDIO) {
		ALLOW_ARG(p, SYS_madvise, 2, MADV_DONTNEED);
		ALLOW_ARG(p, SYS_fcntl, 1, F_GETPIPE_SZ, F_SETPIPE_SZ);
		ALLOW_ARG(p, SYS_setsockopt, 2, SO_LINGER);
		ALLOW_ARG(p, SYS_ioctl, 1, SIOCOUTQ, SIOCOUTQNSD);
		if (flags)
			allow(p, stdio_calls, ARRAY_LEN(stdio_calls));
	} else {
		build_full(p, flags);
	}
	verdict(p, SECCOMP_RET_KILL_PROCESS);
}

int
sandbox_seccomp(unsigned flags)
{
	struct bpf_program p = {.length = 0};
	struct sock_fprog program = {.filter = p.code};

#ifdef NO_SECCOMP
	return 0;
#endif
	build(&p, flags);
	program.len = p.length;
	return (int)syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, &program);
}
