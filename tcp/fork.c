/* Runs each connection of a TCP map in a process of its own. */

/*
 * Theory of operation
 *
 * The mapper forks a process for each accepted client, and reaps it. One
 * SIGCHLD can stand for several children. The mapper asks for the child that
 * the signal names at once, and for all children a little later, because
 * waitpid(2) for any child looks at all of them in the kernel.
 */

#include <errno.h>
#include <signal.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/types.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tcp/fork.h"

#include "base/addr.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/memory.h"
#include "base/proctitle.h"
#include "config/map.h"
#include "dial/conn.h"
#include "mapper/command.h"
#include "mapper/mapper.h"
#include "mapper/rows.h"
#include "mapper/scoreboard.h"
#include "tcp/accept.h"
#include "tcp/conn.h"
#include "tcp/handover.h"
#include "tcp/table.h"
#include "tcp/tcp.h"

#define CHILDREN_PER_MS 64 /* so many children delay reap_all() by 1 ms */

/* Hidden from connections, and thus not copied when the mapper writes to it. */
static struct forks {
	struct tcp tcp;
	int signal_fd;
	int max_fd; /* the highest descriptor that a connection closes */
	uint32_t n_children;
	msec reap_all_at; /* when to reap all children; or 0 */
} * forks;

void
fork_set_title(const struct conn *conn)
{
	/* Not a constant, because those are on pages of their own. */
	const char arrow[] = {' ', '>', ' ', '\0'};
	char text[SOCKADDR_STRLEN];

	proctitle_set(sockaddr_format(&conn->peer.sa, text), arrow,
	    conn->map->spec);
}

static _Noreturn void
process_main(struct conn *conn, int max_fd, unsigned role)
{
	unblock_kill_signal();
	fork_set_title(conn);
	conn_main(conn, max_fd, role);
}

/*
 * Leaves out what the libc adds for programs with threads: musl changes the
 * signal mask six times, and writes to two pages that the child then copies.
 */
pid_t
fork_process(void)
{
	return (pid_t)syscall(SYS_clone, SIGCHLD, NULL, NULL, NULL, NULL);
}

void
fork_opener_ended(struct tcp *t, int status)
{
	close(t->opener_channel);
	t->opener_channel = -1;
	log_error("'%s': its opener has ended (signal %d): no UDP, until a new "
		  "mapper (kill -KILL %d)",
	    t->args->map->spec, WIFSIGNALED(status) ? WTERMSIG(status) : 0,
	    (int)getpid());
}

static void
reap_opener(void)
{
	int status;

	if (waitpid(forks->tcp.args->opener, &status, WNOHANG) > 0)
		fork_opener_ended(&forks->tcp, status);
}

bool
fork_may_use_udp(const struct tcp *t, const struct conn *conn)
{
	return t->opener_channel != -1 &&
	    !cidr_match(&conn->map->accept_proxy, &conn->peer);
}

static void
offer_udp(struct conn *conn)
{
	conn->udp_answer = handover_offer(forks->tcp.opener_channel,
	    conn->peer.sa.sa_family, &conn->udp_ask);
	if (conn->udp_answer == -1 && errno == EPIPE)
		reap_opener();
}

/*
 * Forks the process of connection i and closes the client. If fork(2) fails,
 * the close resets the client.
 */
static void
start_process(uint32_t i, struct conn *conn)
{
	int max_fd = forks->max_fd;
	unsigned role = forks->tcp.args->role;
	pid_t pid;

	if (fork_may_use_udp(&forks->tcp, conn))
		offer_udp(conn);
	pid = fork_process();
	if (pid == 0)
		process_main(conn, max_fd, role);
	close(conn->client);
	if (conn->udp_answer != -1) {
		close(conn->udp_answer);
		close(conn->udp_ask);
	}
	if (pid == -1) {
		tcp_conn_failed(&forks->tcp, i);
		accept_pause(&forks->tcp.acceptor, "fork");
		return;
	}
	forks->tcp.table->pids[i] = pid;
	forks->n_children++;
}

/*
 * Reaps the process of connection i. Returns false if it runs. A process that
 * was stopped is continued, because only its mapper may hold it up.
 */
static bool
reap_conn(uint32_t i)
{
	pid_t pid = forks->tcp.table->pids[i];
	int status;

	if (waitpid(pid, &status, WNOHANG | WUNTRACED) <= 0)
		return false;
	if (WIFSTOPPED(status)) {
		kill(pid, SIGCONT);
		return true;
	}
	forks->n_children--;
	tcp_conn_ended(&forks->tcp, i, status);
	return true;
}

static void
handle_sigchld(void)
{
	const struct table *table = forks->tcp.table;
	struct signalfd_siginfo info;

	if (read(forks->signal_fd, &info, sizeof(info)) == -1)
		return;
	if (forks->tcp.opener_channel != -1 &&
	    (pid_t)info.ssi_pid == forks->tcp.args->opener)
		reap_opener();
	for (uint32_t i = 0; i < table->used; i++)
		if (table->pids[i] == (pid_t)info.ssi_pid && reap_conn(i))
			break;
	if (!forks->reap_all_at && forks->n_children)
		forks->reap_all_at =
		    now_ms() + 1 + forks->n_children / CHILDREN_PER_MS;
}

/* Handles the event of the signalfd, which is the only one. */
static void
handle_child_event(uint64_t data, uint32_t events)
{
	(void)data;
	(void)events;
	handle_sigchld();
}

static msec
reap_all(msec now)
{
	const struct table *table = forks->tcp.table;

	if (!forks->reap_all_at)
		return NEVER;
	if (forks->reap_all_at > now)
		return forks->reap_all_at;
	forks->reap_all_at = 0;
	for (uint32_t i = 0; i < table->used; i++)
		if (table->pids[i])
			reap_conn(i);
	return NEVER;
}

void
fork_handle_command(struct tcp *t)
{
	int channel = t->args->channel;
	struct rows_request request;
	enum mapper_command command = mapper_read_command(channel, &request);

	if (command == CMD_NONE)
		return;
	if (command == CMD_ENDED)
		epoll_ctl(t->epoll, EPOLL_CTL_DEL, channel, NULL);
	if (command == CMD_ROWS)
		tcp_send_rows(t, &request);
	else
		tcp_drain(t);
}

static void
handle_command(void)
{
	fork_handle_command(&forks->tcp);
}

int
sigchld_open(void)
{
	sigset_t chld;

	sigemptyset(&chld);
	sigaddset(&chld, SIGCHLD);
	return signalfd(-1, &chld, SFD_CLOEXEC | SFD_NONBLOCK);
}

int
fork_highest_fd(const struct mapper_args *args, int last)
{
	int max = last > args->channel ? last : args->channel;

	if (args->udp_channel > max)
		max = args->udp_channel;
	for (size_t i = 0; i < args->n_listeners; i++)
		if (args->listeners[i].fd > max)
			max = args->listeners[i].fd;
	return max;
}

int
fork_hide_memory(const struct tcp *t, void *own, size_t size)
{
	const struct mapper_args *args = t->args;
	uint32_t *queue = t->acceptor.queue;
	struct tables *tables = t->tables;

	if (madvise(queue, args->n_listeners * sizeof(*queue), MADV_DONTFORK) ==
	    -1)
		return -1;
	if (scoreboard_hide(args->scoreboard) == -1 ||
	    madvise(own, size, MADV_DONTFORK) == -1)
		return -1;
	return tables_hide(tables);
}

int
fork_init(const struct mapper_args *args)
{
	static const struct tcp_ops ops = {
	    .start = start_process,
	    .channel_event = handle_command,
	    .conn_event = handle_child_event,
	    .run_timers = reap_all,
	};
	struct tcp *t;

	forks = memory_map(NULL, 1, sizeof(*forks), MAP_PRIVATE);
	if (!forks)
		return -1;
	t = &forks->tcp;
	if (tcp_init(t, args, 1) == -1 ||
	    tcp_listen(t, &ops, args->channel, 0) == -1)
		return -1;
	forks->signal_fd = sigchld_open();
	if (forks->signal_fd == -1 ||
	    tcp_watch(t, forks->signal_fd, TCP_EV_CONN) == -1)
		return -1;
	forks->max_fd = fork_highest_fd(args, forks->signal_fd);
	return fork_hide_memory(&forks->tcp, forks, sizeof(*forks));
}

/*
 * What the mapper and a connection have on the stack below this is less than a
 * page; aligned, it is on one page, the only one that each of them copies.
 */
_Noreturn void
fork_run(void)
{
	_Alignas(4096) volatile char page = 0;

	(void)page;
	tcp_run(&forks->tcp);
}
