/*
 * What a process of nsfwd does once a peer has taken it over. The test build has
 * this file, and the linker's --wrap leads calls between files of nsfwd here:
 * each __wrap_ function is a place where a peer could take over a process.
 *
 * With EVIL in the environment, a client from 127.66.N.S has attack N run at
 * stage S, so that one server does for all; see attacks[] and enum stage. A
 * connection or worker sends the result to the client, a mapper writes it to its
 * log: "evil S NAME yes N", or "evil S NAME no ERRNO". If the process is killed, the
 * client is reset without a result. EVIL=old is a kernel without landlock(7).
 * EVIL=list prints the names of the attacks.
 */

#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <sched.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/addr.h"
#include "base/array.h"
#include "base/report.h"
#include "config/endpoint.h"
#include "config/map.h"
#include "dial/conn.h"
#include "dial/dial.h"
#include "dial/dialer.h"
#include "mapper/mapper.h"
#include "mapper/scoreboard.h"
#include "proxy/forward.h"
#include "proxy/proxy_protocol.h"
#include "proxy/server.h"
#include "relay.h"
#include "tcp/conn.h"
#include "tcp/fork.h"
#include "tcp/pool.h"
#include "tcp/table.h"
#include "tcp/tcp.h"
#include "tcp/worker.h"
#include "udp/associate.h"
#include "udp/udp.h"

/* Where a process is taken over. */
enum stage {
	HANDSHAKE = 1, /* a connection, before the first byte of its client */
	DIAL,          /* a connection, before it dials */
	RELAY,         /* a connection, before it relays */
	FORWARD,       /* before a plain HTTP request is forwarded */
	ASSOCIATE,     /* before datagrams of a SOCKS client are relayed */
	WORKER,        /* a worker, when it has accepted */
	UDP_MAPPER,    /* when it sees a new client */
	TCP_MAPPER     /* when it has accepted */
};

static const char *mode;               /* EVIL */
static const struct mapper_args *args; /* of this map */
static const struct tables *tables;    /* of this map */
static const struct conn *victim;      /* the connection of this process */
static pid_t mapper;
static void *used_count, *other_counts; /* on the scoreboard */
static int own_table;                   /* of this worker */

static long
result(long n)
{
	return n == -1 ? -errno : n;
}

/* Returns whether this process can write at an address, without a signal. */
static long
can_write(volatile const void *at)
{
	return result(syscall(SYS_clock_gettime, CLOCK_MONOTONIC, at));
}

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

/* Returns how many sockets can be open; an association needs most. */
static long
do_sockets(void)
{
	long n = 0;

	while (n < 1000 && socket(AF_INET, SOCK_STREAM, 0) != -1)
		n++;
	return n < 80 ? -EMFILE : n;
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

static char forged[] = "nsfwd: FORGED n \033[31m\n"; /* n: the stage */

static long
do_write_log(void)
{
	return result(syscall(SYS_write, 2, forged, strlen(forged)));
}

static long
do_write_stdout(void)
{
	return result(syscall(SYS_write, 1, forged, strlen(forged)));
}

static long
do_send_log(void)
{
	const struct sockaddr_un un = {AF_UNIX, "/dev/log"};

	return result(
	    syscall(SYS_sendto, 2, forged, 8, MSG_DONTWAIT, &un, sizeof(un)));
}

static long
do_shutdown_log(void)
{
	return result(syscall(SYS_shutdown, 2, SHUT_RDWR));
}

static long
do_read_stdin(void)
{
	char byte;

	return result(syscall(SYS_read, 0, &byte, 1)) > 0 ? 1 : -EBADF;
}

static long
do_splice_stdin(void)
{
	int pipe[2];

	if (syscall(SYS_pipe2, pipe, O_NONBLOCK) == -1)
		return -errno;
	return syscall(SYS_splice, 0, 0, pipe[1], 0, 1, SPLICE_F_NONBLOCK) > 0
	    ? 1
	    : -EBADF;
}

static long
open_file(const char *path, int flags)
{
	return result(syscall(SYS_openat, AT_FDCWD, path, flags, 0600));
}

static long
do_open_read(void)
{
	return open_file("/etc/passwd", O_RDONLY);
}

static long
do_open_write(void)
{
	return open_file("/dev/null", O_WRONLY);
}

static long
do_open_create(void)
{
	return open_file("/tmp/evil", O_RDWR | O_CREAT);
}

static long
do_open_mem(void)
{
	char path[64];

	snprintf(path, sizeof(path), "/proc/%d/mem", (int)mapper);
	return open_file(path, O_RDONLY);
}

static long
do_open_ns(void)
{
	char path[64];

	snprintf(path, sizeof(path), "/proc/%d/ns/net", (int)mapper);
	return open_file(path, O_RDONLY);
}

static long
connect_to(uint16_t port)
{
	struct sockaddr_in to = {AF_INET, htons(port), {htonl(0x7f000001)},
	    {0}};
	long fd = syscall(SYS_socket, AF_INET, SOCK_STREAM, 0);

	return result(syscall(SYS_connect, fd, &to, sizeof(to)));
}

static long
do_connect(void)
{
	return connect_to(8080);
}

static long
do_bind(void)
{
	struct sockaddr_in to = {AF_INET, 0, {htonl(0x7f000001)}, {0}};
	long fd = syscall(SYS_socket, AF_INET, SOCK_STREAM, 0);

	return result(syscall(SYS_bind, fd, &to, sizeof(to)));
}

static long
make_socket(int family, int type, int protocol)
{
	return result(syscall(SYS_socket, family, type, protocol));
}

static long
do_netlink_route(void)
{
	return make_socket(AF_NETLINK, SOCK_RAW, 0);
}

static long
do_netlink_xfrm(void)
{
	return make_socket(AF_NETLINK, SOCK_RAW, 6);
}

static long
do_packet(void)
{
	return make_socket(AF_PACKET, SOCK_RAW, 0);
}

static long
do_raw(void)
{
	return make_socket(AF_INET, SOCK_RAW, IPPROTO_TCP);
}

static long
do_unix(void)
{
	return make_socket(AF_UNIX, SOCK_STREAM, 0);
}

static long
do_vsock(void)
{
	return make_socket(AF_VSOCK, SOCK_STREAM, 0);
}

/* Passes a descriptor to the peer of the client's socket. */
static long
do_scm_send(void)
{
	union {
		struct cmsghdr head;
		char bytes[CMSG_SPACE(sizeof(int))];
	} control = {.head = {.cmsg_len = CMSG_LEN(sizeof(int)),
			 .cmsg_level = SOL_SOCKET,
			 .cmsg_type = SCM_RIGHTS}};
	struct iovec iov = {NULL, 0};
	struct msghdr msg = {.msg_iov = &iov,
	    .msg_iovlen = 1,
	    .msg_control = control.bytes,
	    .msg_controllen = sizeof(control.bytes)};

	return result(
	    syscall(SYS_sendmsg, victim ? victim->client : 3, &msg, 0));
}

static long
do_scm_recv(void)
{
	char byte;
	char control[64];
	struct iovec iov = {&byte, 1};
	struct msghdr msg = {.msg_iov = &iov,
	    .msg_iovlen = 1,
	    .msg_control = control,
	    .msg_controllen = sizeof(control)};
	long n = result(syscall(SYS_recvmsg, victim ? victim->client : 3, &msg,
	    MSG_DONTWAIT));

	return n < 0 ? n : msg.msg_controllen ? 1 : -EAGAIN;
}

/* Looks for a descriptor that a connection should not have. */
static long
find_fd(int level, int option, int value)
{
	socklen_t size = sizeof(int);
	long n = 0;
	int got;

	for (int fd = 0; fd < 1024; fd++)
		if (syscall(SYS_getsockopt, fd, level, option, &got, &size) ==
			0 &&
		    got == value)
			n++;
	return n ? n : -EBADF;
}

static long
do_find_listener(void)
{
	return find_fd(SOL_SOCKET, SO_ACCEPTCONN, 1);
}

static long
do_find_channel(void)
{
	return find_fd(SOL_SOCKET, SO_TYPE, SOCK_SEQPACKET);
}

/* Finds a UDP socket by the refusal of a datagram for port 0. */
static long
do_find_udp(void)
{
	const struct sockaddr_in to = {AF_INET, 0, {htonl(0x7f000001)}, {0}};

	for (int fd = 0; fd < 1024; fd++)
		if ((!victim || fd != victim->client) &&
		    syscall(SYS_sendto, fd, "x", 1, MSG_DONTWAIT | MSG_NOSIGNAL,
			&to, sizeof(to)) == -1 &&
		    errno == EINVAL)
			return 1;
	return -EBADF;
}

static long
do_setns_fds(void)
{
	for (int fd = 0; fd < 1024; fd++)
		if (syscall(SYS_setns, fd, 0) == 0)
			return fd;
	return -EBADF;
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

static long
do_scoreboard_used(void)
{
	return can_write(used_count);
}

static long
do_scoreboard_other(void)
{
	return can_write(other_counts);
}

/* Claims as many connections as the number can hold. */
static long
do_scoreboard_own(void)
{
	if (can_write(args->count) < 0)
		return -EFAULT;
	*args->live = UINT32_MAX;
	return 1;
}

/* Returns the index of a table that this process does not take slots of. */
static int
other_table(void)
{
	return tables->count > 1 && own_table == 0;
}

static long
do_slots(void)
{
	return tables ? can_write(tables->items[other_table()].slots) : -ENOENT;
}

static long
do_pids(void)
{
	return tables ? can_write(tables->items[other_table()].pids) : -ENOENT;
}

static long
do_reports(void)
{
	return tables ? can_write(&tables->items[other_table()].reports[4])
		      : -ENOENT;
}

/* A report without a NUL, of the wrong type, with numbers out of range. */
static long
do_report(void)
{
	if (!victim)
		return -ENOENT;
	memset(victim->report, 0xff, sizeof(*victim->report));
	return 1;
}

/* Changes the times of failed targets while other connections read them. */
static long
do_failed_at(void)
{
	struct timespec now = {0}, end;

	if (!victim || !victim->target_failed_at)
		return -ENOENT;
	clock_gettime(CLOCK_MONOTONIC, &end);
	end.tv_sec += (end.tv_nsec += 100000000) / 1000000000;
	end.tv_nsec %= 1000000000;
	while (now.tv_sec < end.tv_sec ||
	    (now.tv_sec == end.tv_sec && now.tv_nsec < end.tv_nsec)) {
		for (size_t i = 0; i < victim->map->n_targets; i++)
			victim->target_failed_at[i] ^= INT64_MAX;
		clock_gettime(CLOCK_MONOTONIC, &now);
	}
	return 1;
}

/* Writes to the server what it does not expect, without end. */
static long
do_channel(void)
{
	static const char junk[5000];
	long n = 0;

	for (int i = 0; i < 1000; i++)
		n += syscall(SYS_sendto, args->channel, junk,
			 i % 3 == 0 ? 1 : 5000 - i, MSG_DONTWAIT | MSG_NOSIGNAL,
			 NULL, 0) > 0;
	return n ? n : -errno;
}

static long
do_mmap(void)
{
	return result(syscall(SYS_mmap, NULL, 1 << 20, PROT_READ | PROT_WRITE,
	    MAP_SHARED | MAP_ANONYMOUS, -1, 0));
}

static long
do_mprotect(void)
{
	return result(syscall(SYS_mprotect, args->scoreboard,
	    (size_t)getpagesize(), PROT_READ | PROT_WRITE));
}

static long
do_mremap(void)
{
	return result(
	    syscall(SYS_mremap, args->count, 0, 1 << 20, MREMAP_MAYMOVE, NULL));
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

/* clang-format off */
#define ATTACK(name) {#name, do_##name}
static const struct {
	const char *name;
	long (*run)(void);
} attacks[] = {
	ATTACK(fork), ATTACK(clone_parent), ATTACK(clone_untraced),
	ATTACK(clone_nosignal), ATTACK(thread), ATTACK(userns), ATTACK(clone3),
	ATTACK(sockets), ATTACK(kill_mapper), ATTACK(stop_mapper),
	ATTACK(cont_mapper), ATTACK(kill_all), ATTACK(kill_group),
	ATTACK(stop_self), ATTACK(tgkill), ATTACK(write_log),
	ATTACK(write_stdout), ATTACK(send_log), ATTACK(shutdown_log),
	ATTACK(read_stdin), ATTACK(splice_stdin), ATTACK(open_read),
	ATTACK(open_write), ATTACK(open_create), ATTACK(open_mem),
	ATTACK(open_ns), ATTACK(connect), ATTACK(bind), ATTACK(listen),
	ATTACK(netlink_route), ATTACK(netlink_xfrm), ATTACK(packet),
	ATTACK(raw), ATTACK(unix), ATTACK(vsock), ATTACK(scm_send),
	ATTACK(scm_recv), ATTACK(find_listener), ATTACK(find_channel),
	ATTACK(find_udp), ATTACK(setns_fds), ATTACK(limit_of_mapper),
	ATTACK(raise_limit), ATTACK(scoreboard_used),
	ATTACK(scoreboard_other), ATTACK(slots),
	ATTACK(pids), ATTACK(reports), ATTACK(report), ATTACK(failed_at),
	ATTACK(channel), ATTACK(mmap), ATTACK(mprotect), ATTACK(mremap),
	ATTACK(execve), ATTACK(ptrace), ATTACK(process_vm_writev),
	ATTACK(process_vm_readv), ATTACK(io_uring_setup), ATTACK(bpf),
	ATTACK(userfaultfd), ATTACK(keyctl), ATTACK(add_key), ATTACK(unshare),
	ATTACK(setns), ATTACK(chroot), ATTACK(pivot_root), ATTACK(mount),
	ATTACK(pidfd_open), ATTACK(pidfd_getfd), ATTACK(pidfd_send_signal),
	ATTACK(memfd_create), ATTACK(shmget), ATTACK(perf_event_open),
	ATTACK(prctl), ATTACK(setuid), ATTACK(setpgid), ATTACK(init_module),
	ATTACK(reboot), ATTACK(ioperm), ATTACK(modify_ldt),
	ATTACK(timer_create), ATTACK(inotify_init1), ATTACK(sched_setattr),
	ATTACK(mlock), ATTACK(unlinkat), ATTACK(symlinkat), ATTACK(scoreboard_own),
};
/* clang-format on */

/* Reads the environment, which the title of a process may overwrite later. */
__attribute__((constructor)) static void
evil_init(void)
{
	const char *value = getenv("EVIL");

	mode = !value ? NULL : strcmp(value, "old") == 0 ? "old" : "on";
	if (!value || strcmp(value, "list") != 0)
		return;
	for (size_t i = 0; i < ARRAY_LEN(attacks); i++)
		puts(attacks[i].name);
	exit(0);
}

/* Runs the attack that the peer's address asks for. Returns false if none. */
static bool
attack(enum stage stage, const union sockaddr_inet *peer, int client)
{
	uint32_t addr = ntohl(peer->v4.sin_addr.s_addr);
	uint32_t n = addr >> 8 & 0xff;
	char text[128];
	long got;

	if (peer->sa.sa_family != AF_INET || addr >> 16 != 0x7f42 ||
	    (addr & 0xff) != stage || n >= ARRAY_LEN(attacks) || !mode)
		return false;
	forged[14] = (char)('0' + stage);
	got = attacks[n].run();
	snprintf(text, sizeof(text), "evil %d %s %s %ld\n", stage,
	    attacks[n].name, got < 0 ? "no" : "yes", got < 0 ? -got : got);
	if (client == -1)
		write(2, text, strlen(text));
	else
		send(client, text, strlen(text), MSG_NOSIGNAL);
	return true;
}

static void
attack_and_exit(enum stage stage)
{
	if (victim && attack(stage, &victim->peer, victim->client))
		_exit(0);
}

#define WRAP(type, name, ...)            \
	type __real_##name(__VA_ARGS__); \
	type __wrap_##name(__VA_ARGS__); \
	type __wrap_##name(__VA_ARGS__)

static void
started(const struct mapper_args *a)
{
	args = a;
	mapper = getpid();
	used_count = &a->scoreboard->used;
	other_counts = scoreboard_counts(a->scoreboard, a->slot ? 0 : 1);
}

WRAP(int, fork_init, const struct mapper_args *a)
{
	started(a);
	return __real_fork_init(a);
}

WRAP(int, pool_init, const struct mapper_args *a)
{
	started(a);
	return __real_pool_init(a);
}

WRAP(int, udp_init, const struct mapper_args *a)
{
	started(a);
	return __real_udp_init(a);
}

WRAP(struct tables *, tables_init, const struct map *map, uint32_t n,
    uint32_t capacity)
{
	struct tables *made = __real_tables_init(map, n, capacity);
	static struct {
		struct tables tables;
		struct table items[8];
	} copy; /* which connections have */

	memcpy(&copy, made,
	    sizeof(struct tables) + (n < 8 ? n : 8) * sizeof(struct table));
	tables = &copy.tables;
	return made;
}

WRAP(int, proxy_read_request, struct proxy_session *s)
{
	attack_and_exit(HANDSHAKE);
	return __real_proxy_read_request(s);
}

WRAP(int, pp_read, const struct io *io, union sockaddr_inet *from,
    union sockaddr_inet *to, struct pp_tlvs *tlvs)
{
	attack_and_exit(HANDSHAKE);
	return __real_pp_read(io, from, to, tlvs);
}

WRAP(int, dial, const struct conn *conn, int *error)
{
	victim = conn;
	attack_and_exit(DIAL);
	return __real_dial(conn, error);
}

WRAP(int, relay, int client, int target, bool tcp, int error,
    const struct timeouts *times, struct conn_report *report)
{
	attack_and_exit(RELAY);
	return __real_relay(client, target, tcp, error, times, report);
}

WRAP(enum forward, proxy_forward, struct proxy_session *s, int target,
    struct conn_report *report, int *error)
{
	attack_and_exit(FORWARD);
	return __real_proxy_forward(s, target, report, error);
}

WRAP(enum end_reason, udp_associate, const struct conn *conn)
{
	victim = conn;
	attack_and_exit(ASSOCIATE);
	return __real_udp_associate(conn);
}

WRAP(void, conn_main, struct conn *conn, int last_fd, unsigned role)
{
	victim = conn;
	__real_conn_main(conn, last_fd, role);
}

/* Workers have no memory for the addresses of names. */
WRAP(void, dialer_init, struct dialer *d, const struct conn *conn,
    struct target_addr *resolved)
{
	victim = conn;
	if (!resolved)
		attack(WORKER, &conn->peer, conn->client);
	__real_dialer_init(d, conn, resolved);
}

WRAP(void, worker_main, struct tcp *t, uint32_t number, int lifeline)
{
	own_table = (int)number;
	__real_worker_main(t, number, lifeline);
}

WRAP(bool, map_allows_client, const struct map *map,
    const union sockaddr_inet *client)
{
	attack(map->proto == PROTO_UDP ? UDP_MAPPER : TCP_MAPPER, client, -1);
	return __real_map_allows_client(map, client);
}

/* Not all calls have six arguments; the others are ignored. */
WRAP(long, syscall, long number, long a, long b, long c, long d, long e, long f)
{
	if (number == SYS_landlock_create_ruleset && mode &&
	    strcmp(mode, "old") == 0) {
		errno = ENOSYS;
		return -1;
	}
	return __real_syscall(number, a, b, c, d, e, f);
}
