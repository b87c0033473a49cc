/*
 * The ends of many connections under test, where tests/peer.py is too slow:
 *
 * stream listen PORT CONNS BYTES    sends and checks BYTES each way on CONNS
 * stream connect PORT CONNS BYTES   connections at the same time
 * stream echo PORT                  sends back what it gets, until killed
 * stream churn PORT TOTAL WORKERS   TOTAL short connections to an echo, one
 *                                   byte each way
 *
 * Addresses are on 127.0.0.1. What listens writes "ready" to $READY_FD. Exit
 * status 1 and a line on stderr where anything was not as it should be.
 */

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

enum {
	WORDS = 16384,
	BLOCK = WORDS * 8,
	PATIENCE = 30000 /* ms without a byte */
};

/* An endless stream that a seed determines, and its current block. */
struct source {
	uint64_t state;
	size_t used;
	uint64_t left;
	uint64_t block[WORDS];
};

static void
refill(struct source *s)
{
	for (size_t i = 0; i < WORDS; i++) {
		s->state ^= s->state << 13;
		s->state ^= s->state >> 7;
		s->state ^= s->state << 17;
		s->block[i] = s->state;
	}
	s->used = 0;
}

static void
begin(struct source *s, uint64_t seed, uint64_t length)
{
	s->state = seed * 0x9e3779b97f4a7c15;
	s->left = length;
	refill(s);
}

static size_t
at_hand(const struct source *s)
{
	size_t n = BLOCK - s->used;

	return s->left < n ? (size_t)s->left : n;
}

static void
take(struct source *s, size_t n)
{
	s->used += n;
	s->left -= n;
	if (s->used == BLOCK)
		refill(s);
}

static _Noreturn void
die(const char *what)
{
	fprintf(stderr, "stream: %s: %s\n", what, strerror(errno));
	exit(1);
}

static struct sockaddr_in
loopback(const char *port)
{
	return (struct sockaddr_in){
	    .sin_family = AF_INET,
	    .sin_port = htons((uint16_t)atoi(port)),
	    .sin_addr.s_addr = htonl(INADDR_LOOPBACK),
	};
}

static void
ready(void)
{
	const char *fd = getenv("READY_FD");

	if (fd != NULL && write(atoi(fd), "ready\n", 6) == 6)
		close(atoi(fd));
}

static int
listener(const char *port)
{
	struct sockaddr_in a = loopback(port);
	int fd = socket(AF_INET, SOCK_STREAM, 0), on = 1;

	if (fd == -1 ||
	    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on)) == -1 ||
	    bind(fd, (struct sockaddr *)&a, sizeof(a)) == -1 ||
	    listen(fd, 4096) == -1)
		die("listen");
	ready();
	return fd;
}

static int
connected(const char *port)
{
	struct sockaddr_in a = loopback(port);
	int fd = socket(AF_INET, SOCK_STREAM, 0);

	if (fd != -1 && connect(fd, (struct sockaddr *)&a, sizeof(a)) == -1) {
		close(fd);
		return -1;
	}
	return fd;
}

/* Receives and checks bytes. Returns 0 at the end of the stream, else 1. */
static int
receive(int fd, struct source *in)
{
	static unsigned char buf[BLOCK];
	ssize_t n;
	size_t limit = at_hand(in);

	n = recv(fd, buf, limit > 0 ? limit : 1, MSG_DONTWAIT);
	if (n == -1 && errno == EAGAIN)
		return 1;
	if (n == -1)
		die("recv");
	if (n == 0 && in->left == 0)
		return 0;
	if (n == 0 || limit == 0 ||
	    memcmp(buf, (unsigned char *)in->block + in->used, (size_t)n) !=
		0) {
		fprintf(stderr, "stream: %s, %llu bytes before the end\n",
		    n == 0 ? "an end" : "wrong bytes",
		    (unsigned long long)in->left);
		exit(1);
	}
	take(in, (size_t)n);
	return 1;
}

static void
transmit(int fd, struct source *out)
{
	ssize_t n;

	n = send(fd, (unsigned char *)out->block + out->used, at_hand(out),
	    MSG_DONTWAIT | MSG_NOSIGNAL);
	if (n == -1 && errno != EAGAIN)
		die("send");
	if (n > 0)
		take(out, (size_t)n);
	if (out->left == 0)
		shutdown(fd, SHUT_WR);
}

/* Moves both directions of one connection until both have ended. */
static _Noreturn void
exchange(int fd, uint64_t mine, uint64_t other, uint64_t length)
{
	static struct source out, in;
	struct pollfd p = {.fd = fd};
	bool reading = true;

	begin(&out, mine, length);
	begin(&in, other, length);
	while (reading || out.left > 0) {
		p.events = (short)((reading ? POLLIN : 0) |
		    (out.left > 0 ? POLLOUT : 0));
		if (poll(&p, 1, PATIENCE) != 1) {
			errno = ETIMEDOUT;
			die("poll");
		}
		if (reading && (p.revents & (POLLIN | POLLERR | POLLHUP)) != 0)
			reading = receive(fd, &in) == 1;
		if (out.left > 0 && (p.revents & (POLLOUT | POLLERR)) != 0)
			transmit(fd, &out);
	}
	exit(0);
}

/* Waits for the children. Returns 0 if all have succeeded. */
static int
gather(int count)
{
	int status, bad = 0;

	while (count-- > 0)
		if (wait(&status) == -1 || status != 0)
			bad = 1;
	return bad;
}

static int
bulk(bool listening, const char *port, int conns, uint64_t length)
{
	int fd, door = listening ? listener(port) : -1;
	uint64_t client = 1, server = 2;

	for (int i = 0; i < conns; i++) {
		fd = listening ? accept(door, NULL, NULL) : connected(port);
		if (fd == -1)
			die(listening ? "accept" : "connect");
		switch (fork()) {
		case -1:
			die("fork");
		case 0:
			if (listening)
				exchange(fd, server, client, length);
			exchange(fd, client, server, length);
		default:
			close(fd);
		}
	}
	return gather(conns);
}

static _Noreturn void
echo(const char *port)
{
	struct epoll_event e = {.events = EPOLLIN};
	int door = listener(port), pool = epoll_create1(0);
	char buf[4096];
	ssize_t n;

	e.data.fd = door;
	if (pool == -1 || epoll_ctl(pool, EPOLL_CTL_ADD, door, &e) == -1)
		die("epoll");
	for (;;) {
		if (epoll_wait(pool, &e, 1, -1) != 1)
			continue;
		if (e.data.fd == door) {
			e.data.fd = accept(door, NULL, NULL);
			e.events = EPOLLIN;
			if (e.data.fd != -1)
				epoll_ctl(pool, EPOLL_CTL_ADD, e.data.fd, &e);
			continue;
		}
		n = recv(e.data.fd, buf, sizeof(buf), 0);
		if (n <= 0 ||
		    send(e.data.fd, buf, (size_t)n, MSG_NOSIGNAL) != n)
			close(e.data.fd);
	}
}

/* Makes one short connection. Returns the error, or NULL. */
static const char *
visit(const char *port)
{
	struct timeval patience = {.tv_sec = PATIENCE / 1000};
	const char *why = NULL;
	char byte = 'x';
	int fd = connected(port);

	if (fd == -1)
		return "connect";
	setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience));
	errno = 0;
	if (send(fd, &byte, 1, MSG_NOSIGNAL) != 1)
		why = "send";
	else if (recv(fd, &byte, 1, 0) != 1 || byte != 'x')
		why = "recv";
	else if (shutdown(fd, SHUT_WR) == -1)
		why = "shutdown";
	else if (recv(fd, &byte, 1, 0) != 0)
		why = "recv at the end";
	close(fd);
	return why;
}

static int
churn(const char *port, int total, int workers)
{
	const char *why;
	int bad = 0;

	for (int w = 0; w < workers; w++) {
		switch (fork()) {
		case -1:
			die("fork");
		case 0:
			for (int i = w; i < total; i += workers) {
				why = visit(port);
				if (why != NULL && bad++ == 0)
					fprintf(stderr, "stream: %d: %s: %s\n",
					    i, why, strerror(errno));
			}
			if (bad > 0)
				fprintf(stderr, "stream: %d errors\n", bad);
			exit(bad > 0);
		default:
			break;
		}
	}
	return gather(workers);
}

int
main(int argc, char **argv)
{
	signal(SIGPIPE, SIG_IGN);
	if (argc == 5 && strcmp(argv[1], "listen") == 0)
		return bulk(true, argv[2], atoi(argv[3]),
		    strtoull(argv[4], NULL, 10));
	if (argc == 5 && strcmp(argv[1], "connect") == 0)
		return bulk(false, argv[2], atoi(argv[3]),
		    strtoull(argv[4], NULL, 10));
	if (argc == 5 && strcmp(argv[1], "churn") == 0)
		return churn(argv[2], atoi(argv[3]), atoi(argv[4]));
	if (argc == 3 && strcmp(argv[1], "echo") == 0)
		echo(argv[2]);
	fprintf(stderr,
	    "usage: stream listen|connect PORT CONNS BYTES | "
	    "echo PORT | churn PORT TOTAL WORKERS\n");
	return 2;
}
