/*
 * Asks for names by dns/, as dig(1) does: for tests/dns.bats.
 *
 * dns_query [OPTION]... [NAME]...
 *   -n NETNS    files of /etc/netns/NETNS before those of /etc
 *   -p PID      files of the root of a process before those of /etc
 *   -d SERVERS  the value of dns=
 *   -e DEV      binds each socket to an interface first, as dev= does
 *   -t MS       ends each look-up after that time
 *   -r          all names at once, by one resolver with its cache
 *   -i          also one name for each line of standard input; "?" is said
 *               when it is waited for; "!NAME" is dns_resolver_doubt()
 *   -u UID      as that user, once the directories are open; where there is no
 *               such user, without capabilities
 *   -h          remembers, from name to name, which servers were silent
 *   -o          without openat2(2), as before Linux 5.6
 *   -s          dies of any system call but those that dns/ needs
 *   -a          waits for both families
 *   -c          says what dns_check() has to say
 *   -b N        looks each name up N times, and says how long one took
 *
 * A line for each name: NAME STATUS TTL ADDRESS..., or NAME STATUS: TEXT.
 */

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "dns/check.h"
#include "dns/resolver.h"

#define NAMES_MAX 256
#define COUNT(a)  (sizeof(a) / sizeof((a)[0]))

static const char *const words[] = {
    [DNS_PENDING] = "PENDING",
    [DNS_OK] = "OK",
    [DNS_NO_NAME] = "NO_NAME",
    [DNS_NO_ADDRESS] = "NO_ADDRESS",
    [DNS_FAILED] = "FAILED",
    [DNS_REFUSED] = "REFUSED",
    [DNS_NO_ANSWER] = "NO_ANSWER",
    [DNS_BAD_FILE] = "BAD_FILE",
    [DNS_BAD_NAME] = "BAD_NAME",
    [DNS_NOT_ASCII] = "NOT_ASCII",
    [DNS_ALIASES] = "ALIASES",
    [DNS_LOCAL] = "LOCAL",
};

static struct dns_source source;
static struct dns_resolver resolver;
static struct dns_query query;
static _Atomic msec silent[DNS_SERVERS_MAX];
static msec span = NEVER;
static bool by_resolver, both;
static int rounds = 1;

static void
die(const char *what)
{
	fprintf(stderr, "dns_query: %s: %s\n", what, strerror(errno));
	exit(2);
}

/* System calls of dns/; write and exit are for this program. */
static void
confine(void)
{
	static const int calls[] = {SYS_socket, SYS_connect, SYS_sendto,
	    SYS_recvfrom, SYS_setsockopt, SYS_getsockname, SYS_openat,
	    SYS_openat2, SYS_fstat, SYS_newfstatat, SYS_read, SYS_close,
	    SYS_epoll_ctl, SYS_epoll_pwait, SYS_ioctl, SYS_getrandom,
	    SYS_clock_gettime,
#ifdef SYS_epoll_wait
	    SYS_epoll_wait, SYS_poll,
#endif
	    SYS_ppoll, SYS_write, SYS_writev, SYS_exit_group};
	struct sock_filter code[2 * COUNT(calls) + 2];
	struct sock_fprog program = {0};
	size_t n = 0;

	code[n++] = (struct sock_filter)BPF_STMT(BPF_LD | BPF_W | BPF_ABS,
	    offsetof(struct seccomp_data, nr));
	for (size_t i = 0; i < COUNT(calls); i++) {
		code[n++] =
		    (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K,
			(unsigned)calls[i], 0, 1);
		code[n++] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K,
		    SECCOMP_RET_ALLOW);
	}
	code[n] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K,
	    SECCOMP_RET_KILL_PROCESS);
	program.filter = code;
	program.len = (unsigned short)(n + 1);
	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == -1 ||
	    prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) == -1)
		die("seccomp");
}

static void
forbid_openat2(void)
{
	struct sock_filter code[] = {
	    BPF_STMT(BPF_LD | BPF_W | BPF_ABS,
		offsetof(struct seccomp_data, nr)),
	    BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_openat2, 0, 1),
	    BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | ENOSYS),
	    BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
	};
	struct sock_fprog program = {COUNT(code), code};

	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == -1 ||
	    prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) == -1)
		die("seccomp");
}

/* In a user namespace there may be nobody else to become. */
static void
become(uid_t uid)
{
	struct __user_cap_header_struct header = {_LINUX_CAPABILITY_VERSION_3,
	    0};
	const struct __user_cap_data_struct none[2] = {{0}};

	if (setresuid(uid, uid, uid) == -1 &&
	    (errno != EINVAL || syscall(SYS_capset, &header, none) == -1))
		die("setresuid");
}

static void
print(const char *name, const struct dns_result *r)
{
	struct dns_addr addrs[2 * DNS_ADDRS_MAX];
	char text[DNS_TEXT_MAX], path[DNS_PATH_SIZE], addr[INET6_ADDRSTRLEN];
	char line[8192];
	size_t n, used;

	if (r->status != DNS_OK) {
		dns_files_path(&source.files, r->file, path);
		used = (size_t)snprintf(line, sizeof(line), "%s %s: %s", name,
		    words[r->status],
		    dns_result_text(r, path, text, sizeof(text)));
	} else {
		used = (size_t)snprintf(line, sizeof(line), "%s OK %u", name,
		    (unsigned)r->ttl);
		n = dns_result_addrs(r, addrs, COUNT(addrs));
		for (size_t i = 0; i < n; i++) {
			inet_ntop(addrs[i].family, addrs[i].addr, addr,
			    sizeof(addr));
			used += (size_t)snprintf(line + used,
			    sizeof(line) - used, " %s", addr);
		}
	}
	line[used++] = '\n';
	if (write(STDOUT_FILENO, line, used) == -1)
		_exit(2);
}

static int
timeout_of(msec at)
{
	msec now = now_ms();

	if (at == NEVER)
		return -1;
	return at <= now ? 0 : (int)(at - now);
}

/* As a connection does: its own poll(2). */
static void
look_up(const char *name)
{
	struct pollfd fds[DNS_FDS];
	enum dns_status status;
	size_t n;

	status = dns_query_start(&query, &source, name,
	    span == NEVER ? NEVER : now_ms() + span, -1, 0);
	while (status == DNS_PENDING || (both && query.active)) {
		n = dns_query_pollfds(&query, fds);
		if (n == 0)
			abort();
		poll(fds, n, timeout_of(dns_query_deadline(&query)));
		status = dns_query_run(&query);
	}
	dns_query_stop(&query);
	if (dns_query_pollfds(&query, fds) || status != query.result.status)
		abort();
	print(name, &query.result);
}

/* As an event loop does; each round asks for all that is not known. */
static void
look_up_all(char *const *names, int n)
{
	const struct dns_result *r;
	bool done[NAMES_MAX] = {false};
	int left = n;

	for (;;) {
		struct pollfd fd = {.fd = resolver.epfd, .events = POLLIN};

		/* For both families: no query is under way any more. */
		for (int i = 0; both && i < n; i++)
			dns_resolver_ask(&resolver, names[i], now_ms(), &r);
		while (both && dns_resolver_deadline(&resolver) != NEVER) {
			poll(&fd, 1,
			    timeout_of(dns_resolver_deadline(&resolver)));
			dns_resolver_run(&resolver);
		}
		for (int i = 0; i < n; i++) {
			if (done[i] ||
			    dns_resolver_ask(&resolver, names[i], now_ms(),
				&r) == DNS_PENDING)
				continue;
			print(names[i], r);
			done[i] = true;
			left--;
		}
		if (left == 0)
			return;
		do
			poll(&fd, 1,
			    timeout_of(dns_resolver_deadline(&resolver)));
		while (!dns_resolver_run(&resolver));
	}
}

static void
look_up_names(char *const *names, int n)
{
	if (by_resolver)
		look_up_all(names, n);
	for (int i = 0; !by_resolver && i < n; i++)
		look_up(names[i]);
}

/* Pending queries go on while the program waits for the next line. */
static bool
read_line(char *line, size_t size)
{
	size_t used = 0;

	if (write(STDOUT_FILENO, "?\n", 2) == -1)
		return false;
	while (used < size - 1) {
		struct pollfd fds[] = {{.fd = STDIN_FILENO, .events = POLLIN},
		    {.fd = by_resolver ? resolver.epfd : -1, .events = POLLIN}};

		poll(fds, 2,
		    by_resolver ? timeout_of(dns_resolver_deadline(&resolver))
				: -1);
		if (by_resolver)
			dns_resolver_run(&resolver);
		if (!fds[0].revents)
			continue;
		if (read(STDIN_FILENO, line + used, 1) != 1)
			return false;
		if (line[used] == '\n')
			break;
		used++;
	}
	line[used] = '\0';
	return true;
}

static int
count_fds(void)
{
	int n = 0;

	for (int fd = 0; fd < 256; fd++)
		n += fcntl(fd, F_GETFD) != -1;
	return n;
}

static int
bind_to(int fd, int family, const void *dev)
{
	(void)family;
	return setsockopt(fd, SOL_SOCKET, SO_BINDTODEVICE, dev,
	    (socklen_t)strlen(dev));
}

static void
check(void)
{
	char text[DNS_TEXT_MAX];
	const char *said = dns_check(&source, text, sizeof(text));

	printf("%s\n", said ? said : "nothing");
	exit(0);
}

static int
root_of(pid_t pid)
{
	char path[32];
	int fd;

	snprintf(path, sizeof(path), "/proc/%d/root", (int)pid);
	fd = open(path, O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (fd == -1)
		die(path);
	return fd;
}

int
main(int argc, char **argv)
{
	const char *netns = NULL, *why, *part;
	char line[512], *one = line;
	bool confined = false, checks = false, interactive = false;
	int c, root = -1, fds;
	msec began;
	pid_t pid = 0;
	uid_t uid = 0;

	while ((c = getopt(argc, argv, "n:p:d:e:t:riu:hosacb:")) != -1)
		switch (c) {
		case 'n':
			netns = optarg;
			break;
		case 'p':
			pid = atoi(optarg);
			root = root_of(pid);
			break;
		case 'd':
			why = dns_servers_parse(&source.servers, optarg, &part);
			if (why) {
				printf("%s: %s\n", part, why);
				return 1;
			}
			break;
		case 'e':
			source.prepare = bind_to;
			source.prepare_arg = optarg;
			break;
		case 't':
			span = atoi(optarg);
			break;
		case 'r':
			by_resolver = true;
			break;
		case 'i':
			interactive = true;
			break;
		case 'u':
			uid = (uid_t)atoi(optarg);
			break;
		case 'h':
			source.silent = silent;
			break;
		case 'o':
			forbid_openat2();
			break;
		case 's':
			confined = true;
			break;
		case 'a':
			both = true;
			break;
		case 'c':
			checks = true;
			break;
		case 'b':
			rounds = atoi(optarg);
			break;
		default:
			return 2;
		}
	argv += optind;
	argc -= optind;
	if (argc > NAMES_MAX)
		return 2;
	if (dns_files_open(&source.files, netns, root, pid) == -1)
		die("/etc");
	if (by_resolver &&
	    dns_resolver_init(&resolver, &source, span == NEVER ? 0 : span) ==
		-1)
		die("epoll");
	if (uid)
		become(uid);
	if (checks)
		check();
	fds = count_fds();
	if (confined)
		confine();
	began = now_ms();
	for (int i = 0; i < rounds; i++)
		look_up_names(argv, argc);
	if (rounds > 1) {
		int n = snprintf(line, sizeof(line), "%.3f ms each\n",
		    (double)(now_ms() - began) / rounds / argc);

		if (write(STDERR_FILENO, line, (size_t)n) == -1)
			return 2;
	}
	while (interactive && read_line(line, sizeof(line)))
		if (*line == '!')
			dns_resolver_doubt(&resolver, line + 1, 0);
		else
			look_up_names(&one, 1);
	if (!confined) {
		if (by_resolver)
			for (int i = 0; i < DNS_SLOTS; i++)
				dns_query_stop(&resolver.query[i]);
		if (count_fds() != fds) {
			fprintf(stderr, "dns_query: %d descriptors, not %d\n",
			    count_fds(), fds);
			return 3;
		}
	}
	_exit(0);
}
