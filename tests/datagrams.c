/*
 * The ends of many UDP flows, because tests/udp.py is too slow for them:
 *
 * datagrams echo PORT       sends back all datagrams, until killed
 * datagrams sink PORT       counts datagrams until none comes for 500 ms:
 *                           prints COUNT BYTES MICROSECONDS ALTERED
 * datagrams flood PORT SIZE RATE MS
 *                           sends for so long, one datagram a call, RATE a
 *                           second (0: as fast as it can): prints COUNT
 * datagrams ping PORT SIZE MS  one at a time, to an echo: prints COUNT
 * datagrams flows PORT FLOWS TOTAL
 *                           sends TOTAL datagrams on FLOWS flows at the same
 *                           time to an echo and checks the answers: prints
 *                           "lost N", fails on wrong answers
 *
 * Addresses are on 127.0.0.1. Receivers write "ready" to $READY_FD.
 */

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum {
	BATCH = 64,
	MSG_SIZE = 2048,
	HEAD = 16,
	QUIET_MS = 500,
	FLOWS_MAX = 256
};

static unsigned char data[BATCH][MSG_SIZE];
static struct sockaddr_in name[BATCH];
static struct iovec iov[BATCH];
static struct mmsghdr msg[BATCH];

static _Noreturn void
die(const char *what)
{
	perror(what);
	exit(1);
}

static int64_t
microseconds(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (int64_t)ts.tv_sec * 1000000 + ts.tv_nsec / 1000;
}

static int
open_socket(const char *port, bool receives)
{
	const int buffer_size = 4 << 20;
	struct sockaddr_in in = {
	    .sin_family = AF_INET,
	    .sin_port = htons((uint16_t)atoi(port)),
	    .sin_addr.s_addr = htonl(INADDR_LOOPBACK),
	};
	const char *ready = getenv("READY_FD");
	struct sockaddr *at = (void *)&in;
	int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);

	if (fd == -1)
		die("socket");
	setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &buffer_size,
	    sizeof(buffer_size));
	setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &buffer_size,
	    sizeof(buffer_size));
	if ((receives ? bind(fd, at, sizeof(in))
		      : connect(fd, at, sizeof(in))) == -1)
		die(port);
	if (receives && ready && write(atoi(ready), "ready\n", 6) == 6)
		close(atoi(ready));
	return fd;
}

static void
reset_msgs(void)
{
	for (size_t i = 0; i < BATCH; i++) {
		iov[i] = (struct iovec){data[i], MSG_SIZE};
		msg[i].msg_hdr = (struct msghdr){
		    .msg_name = &name[i],
		    .msg_namelen = sizeof(name[i]),
		    .msg_iov = &iov[i],
		    .msg_iovlen = 1,
		};
	}
}

static void
echo(int fd)
{
	int n, sent, more;

	for (;;) {
		reset_msgs();
		n = recvmmsg(fd, msg, BATCH, MSG_WAITFORONE, NULL);
		if (n == -1)
			die("recvmmsg");
		for (int i = 0; i < n; i++)
			iov[i].iov_len = msg[i].msg_len;
		for (sent = 0; sent<n; sent += more> 0 ? more : 1)
			more =
			    sendmmsg(fd, msg + sent, (unsigned)(n - sent), 0);
	}
}

/* Fills a datagram so that its first byte determines all others. */
static void
fill(unsigned char *at, size_t size, unsigned char first)
{
	for (size_t i = 0; i < size; i++)
		at[i] = (unsigned char)(first + i);
}

static void
sink(int fd)
{
	struct pollfd watched = {.fd = fd, .events = POLLIN};
	uint64_t count = 0, bytes = 0, altered = 0;
	unsigned char expected[MSG_SIZE + 256];
	int64_t from = 0, to = 0;
	int n;

	fill(expected, sizeof(expected), 0);
	if (poll(&watched, 1, 20 * QUIET_MS) != 1)
		die("nothing came");
	from = microseconds();
	while (poll(&watched, 1, QUIET_MS) == 1) {
		reset_msgs();
		n = recvmmsg(fd, msg, BATCH, MSG_DONTWAIT, NULL);
		to = microseconds();
		for (int i = 0; i < n; i++) {
			bytes += msg[i].msg_len;
			altered += memcmp(data[i], expected + data[i][0],
				       msg[i].msg_len) != 0;
		}
		count += n > 0 ? (uint64_t)n : 0;
	}
	printf("%llu %llu %lld %llu\n", (unsigned long long)count,
	    (unsigned long long)bytes, (long long)(to - from),
	    (unsigned long long)altered);
}

static void
flood(int fd, size_t size, int64_t rate, int64_t span)
{
	int64_t from = microseconds(), at = from, sent = 0;

	while (at - from < span * 1000) {
		if (rate && sent * 1000000 > (at - from) * rate) {
			usleep(500);
			at = microseconds();
			continue;
		}
		fill(data[0], size, (unsigned char)sent);
		sent += send(fd, data[0], size, 0) != -1;
		if (rate || sent % 16 == 0)
			at = microseconds();
	}
	printf("%lld\n", (long long)sent);
}

static void
ping(int fd, size_t size, int64_t span)
{
	struct pollfd watched = {.fd = fd, .events = POLLIN};
	int64_t until = microseconds() + span * 1000, answers = 0;

	while (microseconds() < until) {
		send(fd, data[0], size, 0);
		if (poll(&watched, 1, QUIET_MS) != 1)
			die("no answer");
		if (recv(fd, data[1], MSG_SIZE, 0) != (ssize_t)size)
			die("wrong answer");
		answers++;
	}
	printf("%lld\n", (long long)answers);
}

/* A flow under test, and its datagrams. */
struct flow {
	int fd;
	uint64_t sent, done; /* done: answered or lost */
};

static struct test {
	struct flow flow[FLOWS_MAX];
	uint64_t flows, left, window, lost;
	int epoll;
} test;

static uint64_t
mix(uint64_t x)
{
	x = (x ^ (x >> 31)) * 0x9e3779b97f4a7c15;
	return x ^ (x >> 29);
}

/*
 * Writes a datagram of a flow and returns its size, which stays the same for
 * some datagrams, with a shorter one in between.
 */
static size_t
make_datagram(unsigned char *at, uint64_t flow, uint64_t number)
{
	uint64_t run = mix(flow << 40 | number >> 3),
		 words[HEAD / 8] = {flow, number};
	size_t size = HEAD + run % 180;

	if (number % 8 == run % 32)
		size = HEAD + (size - HEAD) / 2;
	memcpy(at, words, HEAD);
	fill(at + HEAD, size - HEAD, (unsigned char)(run >> 8));
	return size;
}

static void
send_more(uint64_t which)
{
	struct flow *f = &test.flow[which];

	while (f->sent - f->done < test.window && test.left) {
		size_t size = make_datagram(data[0], which, f->sent);

		if (send(f->fd, data[0], size, 0) == -1)
			die("send");
		f->sent++;
		test.left--;
	}
}

static void
check(uint64_t which, const unsigned char *got, ssize_t length)
{
	struct flow *f = &test.flow[which];
	unsigned char expected[MSG_SIZE];
	uint64_t head[HEAD / 8];
	const char *wrong = NULL;

	memcpy(head, got, HEAD);
	if (length < HEAD || head[0] >= test.flows)
		wrong = "corrupt";
	else if (head[0] != which)
		wrong = "of another flow";
	else if (head[1] < f->done)
		wrong = "out of order or twice";
	else if (head[1] >= f->sent ||
	    make_datagram(expected, which, head[1]) != (size_t)length ||
	    memcmp(expected, got, (size_t)length) != 0)
		wrong = "corrupt";
	if (wrong) {
		fprintf(stderr, "flow %llu, after %llu: %s\n",
		    (unsigned long long)which, (unsigned long long)f->done,
		    wrong);
		exit(1);
	}
	test.lost += head[1] - f->done;
	f->done = head[1] + 1;
}

static void
receive_answers(uint64_t which)
{
	int n;

	reset_msgs();
	n = recvmmsg(test.flow[which].fd, msg, BATCH, MSG_DONTWAIT, NULL);
	for (int i = 0; i < n; i++)
		check(which, data[i], (ssize_t)msg[i].msg_len);
}

/* Counts the answers that have not arrived as lost. */
static void
count_missing(void)
{
	for (uint64_t i = 0; i < test.flows; i++) {
		test.lost += test.flow[i].sent - test.flow[i].done;
		test.flow[i].done = test.flow[i].sent;
		send_more(i);
	}
}

static void
flows(const char *port, uint64_t count, uint64_t total)
{
	struct epoll_event ev[FLOWS_MAX];
	socklen_t length = sizeof(int);
	int buffer_size = 0, n;

	test.flows = count < FLOWS_MAX ? count : FLOWS_MAX;
	test.left = total;
	test.epoll = epoll_create1(EPOLL_CLOEXEC);
	for (uint64_t i = 0; i < test.flows; i++) {
		ev[0] = (struct epoll_event){EPOLLIN, {.u64 = i}};
		test.flow[i].fd = open_socket(port, false);
		epoll_ctl(test.epoll, EPOLL_CTL_ADD, test.flow[i].fd, ev);
	}
	/* All datagrams on the way fit the smallest receive buffer. */
	getsockopt(test.flow[0].fd, SOL_SOCKET, SO_RCVBUF, &buffer_size,
	    &length);
	test.window = (uint64_t)buffer_size / 1024 / test.flows;
	test.window = test.window < 16 ? test.window : 16;
	for (uint64_t i = 0; i < test.flows; i++)
		send_more(i);
	while ((n = epoll_wait(test.epoll, ev, FLOWS_MAX, QUIET_MS)) > 0 ||
	    test.left) {
		for (int i = 0; i < n; i++) {
			receive_answers(ev[i].data.u64);
			send_more(ev[i].data.u64);
		}
		if (n == 0)
			count_missing();
	}
	count_missing();
	printf("lost %llu\n", (unsigned long long)test.lost);
}

int
main(int argc, char **argv)
{
	const char *mode = argc > 2 ? argv[1] : "";
	long number[3] = {0};

	for (int i = 3; i < argc && i < 6; i++)
		number[i - 3] = atol(argv[i]);
	if (!strcmp(mode, "echo"))
		echo(open_socket(argv[2], true));
	else if (!strcmp(mode, "sink"))
		sink(open_socket(argv[2], true));
	else if (!strcmp(mode, "flood") && number[0] <= MSG_SIZE)
		flood(open_socket(argv[2], false), (size_t)number[0], number[1],
		    number[2]);
	else if (!strcmp(mode, "ping") && number[0] <= MSG_SIZE)
		ping(open_socket(argv[2], false), (size_t)number[0], number[1]);
	else if (!strcmp(mode, "flows"))
		flows(argv[2], (uint64_t)number[0], (uint64_t)number[1]);
	else
		return 2;
	return 0;
}
