/* Runs the connections of a TCP map in processes that are kept. */

/*
 * Theory of operation
 *
 * A handshake of a proxy, a hop or a PROXY header blocks its process, so that a
 * map with one has no event loops as workers. Its mapper hands each client to a
 * process that has served another one, and forks a process if none is idle. So
 * no client waits for another one. As many processes as the map has workers
 * stay when they are idle.
 *
 * A process has a channel, on which the mapper sends a struct conn and the
 * client, and a pipe, into which it writes a byte when it has served the
 * client. The mapper never reads what could hold a descriptor, because to close
 * one can block: it reads the pipe, and its end of the channel takes no
 * messages. The mapper has the client open, too, so that it can end a client
 * that counts no more, even if the process has kept it.
 *
 * A process that has ended is reaped by SIGCHLD, and so is its connection.
 */

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/types.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tcp/kept.h"

#include "base/clock.h"
#include "base/fd.h"
#include "base/log.h"
#include "base/memory.h"
#include "base/proctitle.h"
#include "base/seccomp.h"
#include "base/sock.h"
#include "config/map.h"
#include "dial/conn.h"
#include "mapper/command.h"
#include "mapper/mapper.h"
#include "mapper/rows.h"
#include "mapper/scoreboard.h"
#include "tcp/accept.h"
#include "tcp/conn.h"
#include "tcp/fork.h"
#include "tcp/handover.h"
#include "tcp/table.h"
#include "tcp/tcp.h"

#define NO_CONN      UINT32_MAX
#define RESERVED_FDS 40 /* of the mapper: logs, epoll, four to fork, ... */
#define STOPS_MAX    64 /* for each signal, so that they hold up no command */

/* Data of an event: this, or the index of a process. */
#define EV_SIGCHLD (UINT64_MAX / 2)

struct kept_proc {
	pid_t pid;         /* 0: free */
	int channel, done; /* the mapper's ends; -1: given up */
	int client;        /* -1: none */
	uint32_t conn;     /* its slot, or NO_CONN */
	bool six;          /* of its clients, because an opener is told once */
	bool once;         /* has no UDP to offer: serves a single client */
};

static struct kept {
	struct tcp tcp;
	struct kept_proc *procs;
	uint32_t *idle; /* indices, the last used one at the end */
	uint32_t n_idle, used, max;
	int signal_fd, max_fd;
} * kept;

/* The channels between a process, its mapper and the opener. */
struct kept_ends {
	int channel[2], done[2]; /* [0]: its end, [1]: the mapper's */
	int udp_answer, udp_ask; /* see tcp/handover.h; -1: none */
};

static void
close_ends(const struct kept_ends *e, int end)
{
	close_keep_errno(e->channel[end]);
	close_keep_errno(e->done[end]);
}

/* Returns -1 with errno, and nothing open. */
static int
open_ends(struct kept_ends *e, const struct conn *conn)
{
	int pipe[2];

	e->udp_answer = e->udp_ask = -1;
	if (pipe2(pipe, O_CLOEXEC | O_NONBLOCK) == -1)
		return -1;
	fcntl(pipe[0], F_SETPIPE_SZ, 1); /* of a limit for relays */
	e->done[0] = pipe[1];
	e->done[1] = pipe[0];
	e->channel[0] = e->channel[1] = -1;
	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, e->channel) ==
	    -1) {
		close_ends(e, 0);
		close_ends(e, 1);
		return -1;
	}
	shutdown(e->channel[0], SHUT_WR);
	if (kept->tcp.opener_channel != -1) /* its next client may use UDP */
		e->udp_answer = handover_offer(kept->tcp.opener_channel,
		    conn->peer.sa.sa_family, &e->udp_ask);
	return 0;
}

/*
 * Serves the first client, and then those that come by the channel, until the
 * mapper closes it.
 */
static _Noreturn void
kept_main(struct conn *conn, const struct kept_ends *e, int max_fd,
    unsigned role)
{
	const int fds[] = {e->channel[0], e->done[0], e->udp_answer,
	    e->udp_ask};
	const char *spec = conn->map->spec;
	const int offered = conn->udp_answer;
	int status, epoll = -1;

	unblock_kill_signal();
	conn->udp_answer = -1;
	conn_init(conn, fds, e->udp_answer == -1 ? 2 : 4, max_fd);
	conn->udp_answer = offered;
	role &= ~(unsigned)(SANDBOX_FORK | SANDBOX_MAY_NARROW);
	if (role && sandbox_seccomp(role) == -1)
		_exit(1);
	do {
		if (conn->udp_answer != -1) {
			conn->udp_answer = e->udp_answer;
			conn->udp_ask = e->udp_ask;
		}
		conn->epoll = epoll;
		fork_set_title(conn);
		status = conn_serve(conn, role);
		if (!conn_forget(conn))
			_exit(status);
		epoll = conn->epoll;
		proctitle_set("worker", " of ", spec);
	} while (write(e->done[0], "", 1) == 1 &&
	    handover_take(e->channel[0], conn) == 0);
	_exit(0);
}

/* Closes the mapper's ends, so that the process exits when it is idle. */
static void
close_proc(struct kept_proc *p)
{
	if (p->done == -1)
		return;
	close_keep_errno(p->done); /* leaves the epoll, too */
	close_keep_errno(p->channel);
	p->done = p->channel = -1;
}

/* Returns a free index; or `max` with errno. */
static uint32_t
free_index(void)
{
	uint32_t i = 0;

	while (i < kept->used && kept->procs[i].pid)
		i++;
	kept->used += i == kept->used && i < kept->max;
	errno = EAGAIN;
	return i;
}

/* Without an opener the family of a client does not matter. */
static bool
is_six(const struct conn *conn)
{
	return kept->tcp.args->udp_channel != -1 &&
	    conn->peer.sa.sa_family == AF_INET6;
}

/*
 * Removes the last used idle process for the family of a client. Returns NULL
 * if there is none.
 */
static struct kept_proc *
take_idle(bool six)
{
	for (uint32_t i = kept->n_idle; i-- > 0;) {
		struct kept_proc *p = &kept->procs[kept->idle[i]];

		if (p->six != six)
			continue;
		kept->n_idle--;
		memmove(&kept->idle[i], &kept->idle[i + 1],
		    (kept->n_idle - i) * sizeof(*kept->idle));
		return p;
	}
	return NULL;
}

/* Keeps the client open until the process has served it. */
static void
keep_client(struct kept_proc *p, const struct conn *conn)
{
	p->client = conn->client;
	if (kept->max_fd < p->client)
		kept->max_fd = p->client;
}

/* Hands a client to an idle process. Returns false if there is none. */
static bool
give_to_idle(uint32_t i, struct conn *conn)
{
	struct kept_proc *p;

	while ((p = take_idle(is_six(conn)))) {
		if (handover_give(p->channel, conn) == 0) {
			p->conn = i;
			keep_client(p, conn);
			kept->tcp.table->pids[i] = p->pid;
			return true;
		}
		close_proc(p);
	}
	return false;
}

/* Forks a process for its first client. Returns its pid, or -1 with errno. */
static pid_t
fork_kept(struct kept_proc *p, struct conn *conn)
{
	const struct mapper_args *args = kept->tcp.args;
	const uint64_t data = TCP_EV_CONN + (uint64_t)(p - kept->procs);
	const unsigned role = args->role;
	struct kept_ends e;
	int max_fd;
	pid_t pid;

	if (open_ends(&e, conn) == -1)
		return -1;
	p->channel = e.channel[1];
	p->done = e.done[1];
	p->once = kept->tcp.opener_channel != -1 && e.udp_answer == -1;
	max_fd = kept->max_fd > p->done ? kept->max_fd : p->done;
	max_fd = max_fd > p->channel ? max_fd : p->channel;
	kept->max_fd = max_fd;
	pid = tcp_watch(&kept->tcp, p->done, data) == -1 ? -1 : fork_process();
	if (pid == 0)
		kept_main(conn, &e, max_fd, role);
	close_ends(&e, 0);
	if (e.udp_answer != -1) {
		close_keep_errno(e.udp_answer);
		close_keep_errno(e.udp_ask);
	}
	if (pid == -1)
		close_proc(p);
	return pid;
}

/*
 * Gives the client of connection i to a process. If there is none, closes the
 * client, which resets it.
 */
static void
start_kept(uint32_t i, struct conn *conn)
{
	struct kept_proc *p;
	pid_t pid = -1;

	conn->kept = true;
	if (fork_may_use_udp(&kept->tcp, conn))
		conn->udp_answer =
		    0; /* what it has, it gets from kept_main() */
	if (!give_to_idle(i, conn)) {
		p = &kept->procs[free_index()];
		if (p != &kept->procs[kept->max])
			pid = fork_kept(p, conn);
		if (pid == -1) {
			close_keep_errno(conn->client);
			tcp_conn_failed(&kept->tcp, i);
			accept_pause(&kept->tcp.acceptor, "fork");
			return;
		}
		p->pid = pid;
		p->conn = i;
		p->six = is_six(conn);
		keep_client(p, conn);
		kept->tcp.n_kept++;
		kept->tcp.table->pids[i] = p->pid;
	}
}

/* Gives up an idle process, or one that is ending. */
static void
remove_proc(uint32_t index)
{
	for (uint32_t i = 0; i < kept->n_idle; i++)
		if (kept->idle[i] == index)
			kept->idle[i] = kept->idle[--kept->n_idle];
	close_proc(&kept->procs[index]);
}

/*
 * Handles the byte of a process that has served its client. One that writes
 * without a client was hijacked.
 */
static void
handle_done(uint32_t index)
{
	struct kept_proc *p = &kept->procs[index];
	uint32_t i = p->conn;
	char bytes[2]; /* an honest process has written one */
	ssize_t n;

	if (p->done == -1)
		return;
	n = read(p->done, bytes, sizeof(bytes));
	if (n == -1 && errno == EAGAIN)
		return;
	if (n != 1 || i == NO_CONN) {
		remove_proc(index);
		return;
	}
	sock_end(p->client);
	p->client = -1;
	if (kept->tcp.draining || p->once ||
	    kept->n_idle >= kept->tcp.args->map->workers) {
		close_proc(p); /* its connection ends when it is reaped */
		return;
	}
	p->conn = NO_CONN;
	kept->idle[kept->n_idle++] = index;
	tcp_conn_ended(&kept->tcp, i, 0);
}

static void
proc_ended(uint32_t index, int status)
{
	struct kept_proc *p = &kept->procs[index];

	remove_proc(index);
	if (p->client != -1)
		close(p->client);
	p->client = -1;
	p->pid = 0;
	kept->tcp.n_kept--;
	if (p->conn != NO_CONN)
		tcp_conn_ended(&kept->tcp, p->conn, status);
	p->conn = NO_CONN;
}

/* Continues a stopped process, because only its mapper may hold it up. */
static void
reap_kept(void)
{
	struct signalfd_siginfo info;
	int status, stops = 0;
	pid_t pid;

	if (read(kept->signal_fd, &info, sizeof(info)) == -1)
		return;
	while (stops < STOPS_MAX &&
	    (pid = waitpid(-1, &status, WNOHANG | WUNTRACED)) > 0) {
		if (WIFSTOPPED(status)) {
			kill(pid, SIGCONT);
			stops++;
			continue;
		}
		if (kept->tcp.opener_channel != -1 &&
		    pid == kept->tcp.args->opener)
			fork_opener_ended(&kept->tcp, status);
		for (uint32_t i = 0; i < kept->used; i++)
			if (kept->procs[i].pid == pid)
				proc_ended(i, status);
	}
}

static void
kept_event(uint64_t data, uint32_t events)
{
	(void)events;
	if (data == EV_SIGCHLD)
		reap_kept();
	else
		handle_done((uint32_t)data);
}

static void
kept_handle_command(void)
{
	fork_handle_command(&kept->tcp);
	while (kept->tcp.draining && kept->n_idle)
		close_proc(&kept->procs[kept->idle[--kept->n_idle]]);
}

static msec
no_timers(msec now)
{
	(void)now;
	return NEVER;
}

/* Limits connections by RLIMIT_NOFILE: each takes three descriptors. */
static uint32_t
conns_max(const struct mapper_args *args)
{
	const rlim_t others =
	    RESERVED_FDS + args->n_listeners + 2 * (rlim_t)args->map->workers;
	struct rlimit limit;
	uint32_t max;

	if (getrlimit(RLIMIT_NOFILE, &limit) == -1 ||
	    limit.rlim_cur >= others + 3 * (rlim_t)args->max_open)
		return args->max_open;
	max = limit.rlim_cur > others + 3
	    ? (uint32_t)((limit.rlim_cur - others) / 3)
	    : 1;
	log_info(
	    "'%s': connections=%u, not %u: each takes three open files, and "
	    "there may be %llu (ulimit -Hn)",
	    args->map->spec, max, args->max_open,
	    (unsigned long long)limit.rlim_cur);
	return max;
}

/* Returns -1 with errno. */
static int
alloc_procs(uint32_t max_open)
{
	struct kept *k = memory_map(NULL, 1, sizeof(*kept), MAP_PRIVATE);

	kept = k;
	if (!k)
		return -1;
	k->max = 2 * max_open;
	k->procs = memory_map(NULL, (size_t)k->max + 1, sizeof(*k->procs),
	    MAP_PRIVATE | MAP_NORESERVE);
	k->idle = memory_map(NULL, k->max, sizeof(*k->idle),
	    MAP_PRIVATE | MAP_NORESERVE);
	if (!k->procs || !k->idle ||
	    madvise(k->procs, k->max * sizeof(*k->procs), MADV_DONTFORK) == -1)
		return -1;
	return madvise(k->idle, k->max * sizeof(*k->idle), MADV_DONTFORK);
}

int
kept_init(const struct mapper_args *args)
{
	static const struct tcp_ops ops = {
	    .start = start_kept,
	    .channel_event = kept_handle_command,
	    .conn_event = kept_event,
	    .run_timers = no_timers,
	};

	if (alloc_procs(args->max_open) == -1 ||
	    tcp_init(&kept->tcp, args, 1) == -1 ||
	    tcp_listen(&kept->tcp, &ops, args->channel, 0) == -1)
		return -1;
	kept->tcp.acceptor.max_open = conns_max(args);
	kept->signal_fd = sigchld_open();
	if (kept->signal_fd == -1 ||
	    tcp_watch(&kept->tcp, kept->signal_fd, TCP_EV_CONN + EV_SIGCHLD) ==
		-1)
		return -1;
	kept->max_fd = fork_highest_fd(args, kept->signal_fd);
	return fork_hide_memory(&kept->tcp, kept, sizeof(*kept));
}

_Noreturn void
kept_run(void)
{
	tcp_run(&kept->tcp);
}
