/*
 * The client and the server of the benchmark:
 *
 * load serve PORT                 serves all that follows, TCP and UDP, until
 *                                 killed
 * load bulk PORT WAY STREAMS MS   sends up, down or both at the same time; the
 *                                 last byte is confirmed: BYTES NS
 * load ping PORT MS               sends a byte there and back:
 *                                 TURNS NS P50 P99
 * load crr PORT CLIENTS MS        connects, sends 64 bytes there and back,
 *                                 closes: COUNT NS P50 P99 MAX ERRORS
 * load proxy PORT TARGET WAY CLIENTS MS
 *                                 the same through a proxy, to the port TARGET;
 *                                 WAY is socks5, connect, http (a request for
 *                                 64 bytes), or keep (many of them on one
 *                                 connection, as long as the proxy keeps it)
 * load idle PORT COUNT            opens connections, tries each, prints
 *                                 "open N"; waits for a line of standard
 *                                 input; tries each again, prints "alive N"
 * load flood PORT SIZE RATE MS    sends datagrams one way, RATE a second, or
 *                                 as fast as it can for 0:
 *                                 SENT NS DELIVERED NS ALTERED
 * load turns PORT SIZE MS         sends datagrams there and back:
 *                                 TURNS NS P50 P99 LOST
 *
 * Each command prints one line with the figures in capitals; percentiles are in
 * nanoseconds. $ADDRESS is the address of the server, 127.0.0.1 by default.
 */

#include <arpa/inet.h>
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "bench/load.h"

enum {
	PATIENCE = 10000, /* ms */
	SAMPLES = 1 << 22,
};

static uint32_t sample[SAMPLES];
size_t samples;

void
take(int64_t from)
{
	int64_t span = ns() - from;

	if (samples < SAMPLES)
		sample[samples++] =
		    (uint32_t)(span < UINT32_MAX ? span : UINT32_MAX);
}

static int
ascending(const void *a, const void *b)
{
	uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;

	return (x > y) - (x < y);
}

void
sort_samples(void)
{
	qsort(sample, samples, sizeof(*sample), ascending);
}

uint32_t
quantile(size_t part)
{
	return samples ? sample[(samples - 1) * part / 1000] : 0;
}

static void
expect(bool good, const char *what)
{
	if (good)
		return;
	if (!errno)
		errno = ECONNRESET;
	die(what);
}

static void
bulk(const char *way, int streams, uint32_t ms)
{
	struct stream *all = zeroed((size_t)streams, sizeof(*all));
	struct epoll_event ev[EVENTS];
	int epoll = epoll_create1(EPOLL_CLOEXEC), left = streams, n;
	unsigned char ask[ASK_SIZE] = {0};
	uint64_t bytes = 0;
	int64_t from;

	ask[0] = (strcmp(way, "down") != 0 ? ASK_UP : 0) |
	    (strcmp(way, "up") != 0 ? ASK_DOWN : 0);
	memcpy(ask + 1, &ms, sizeof(ms));
	for (int i = 0; i < streams; i++)
		all[i].fd = open_socket(SOCK_STREAM, true);
	from = ns();
	for (int i = 0; i < streams; i++) {
		expect(send(all[i].fd, ask, ASK_SIZE, 0) == ASK_SIZE, "ask");
		all[i].sending = all[i].awaiting = ask[0] & ASK_UP;
		all[i].receiving = ask[0] & ASK_DOWN;
		all[i].until = from + ms * INT64_C(1000000);
		watch(epoll, &all[i]);
	}
	while (left) {
		errno = ETIMEDOUT;
		n = epoll_wait(epoll, ev, EVENTS, (int)ms + PATIENCE);
		expect(n > 0, "bulk");
		for (int i = 0; i < n; i++) {
			struct stream *s = ev[i].data.ptr;

			if (!advance(epoll, s))
				continue;
			bytes += s->bytes;
			close(s->fd);
			left--;
		}
	}
	printf("%llu %lld\n", (unsigned long long)bytes,
	    (long long)(ns() - from));
}

/* Sends a message to an echo. Returns true if all of it comes back. */
static bool
turn(int fd, size_t size, int span)
{
	struct pollfd watched = {.fd = fd, .events = POLLIN};
	size_t got = 0;
	ssize_t n;

	errno = 0;
	if (send(fd, data, size, MSG_NOSIGNAL) != (ssize_t)size)
		return false;
	while (got < size) {
		if (span && poll(&watched, 1, span) != 1)
			return false;
		n = recv(fd, data, size - got, 0);
		if (n <= 0)
			return false;
		got += (size_t)n;
	}
	return true;
}

static void
ping(int type, size_t size, uint32_t ms)
{
	int fd = open_socket(type, true);
	int64_t from = ns(), at = from, until = from + ms * INT64_C(1000000);
	size_t lost = 0;

	while (at < until) {
		data[0] = ASK_ECHO;
		if (turn(fd, size, type == SOCK_DGRAM ? 200 : 0))
			take(at);
		else if (type == SOCK_DGRAM)
			lost++;
		else
			expect(false, "ping");
		at = ns();
	}
	sort_samples();
	printf("%zu %lld %u %u %zu\n", samples, (long long)(at - from),
	    quantile(500), quantile(990), lost);
}

/* Prints "open N" and "alive N": how many connections have answered. */
static void
idle(int count)
{
	int *fd = zeroed((size_t)count, sizeof(*fd)), good = 0;

	for (int i = 0; i < count; i++) {
		fd[i] = open_socket(SOCK_STREAM, true);
		data[0] = ASK_ECHO;
		good += turn(fd[i], ECHO, PATIENCE);
	}
	printf("open %d\n", good);
	fflush(stdout);
	getchar();
	good = 0;
	for (int i = 0; i < count; i++) {
		data[0] = ASK_ECHO;
		good += turn(fd[i], ECHO, PATIENCE);
	}
	printf("alive %d\n", good);
}

/*
 * Returns the counters. Repeats the query, because a full queue drops queries.
 */
static struct count
query(int fd)
{
	struct pollfd watched = {.fd = fd, .events = POLLIN};
	struct count count = {0};

	for (int i = 0; i < PATIENCE / 100; i++) {
		send(fd, "q", 1, 0);
		if (poll(&watched, 1, 200) == 1 &&
		    recv(fd, &count, sizeof(count), 0) == sizeof(count))
			return count;
	}
	errno = ETIMEDOUT;
	die("query");
}

/* Sends datagrams at a rate. After a delay it catches up, a few at a time. */
static void
flood(size_t size, uint64_t rate, uint32_t ms)
{
	int fd = open_socket(SOCK_DGRAM, true);
	int64_t from, at, until;
	uint64_t sent = 0, due = UINT64_MAX;
	struct count count;

	query(fd);
	memset(data, 's', size);
	data[size - 1] = (unsigned char)size;
	from = at = ns();
	until = from + ms * INT64_C(1000000);
	while (at < until) {
		if (rate)
			due = (uint64_t)(at - from) * rate / 1000000000 + 1;
		for (int i = 0; i < 16 && sent < due; i++)
			sent += send(fd, data, size, 0) == (ssize_t)size;
		if (rate)
			nanosleep(&(struct timespec){.tv_nsec = 20000}, NULL);
		at = ns();
	}
	poll(NULL, 0, 200);
	count = query(fd);
	printf("%llu %lld %llu %llu %llu\n", (unsigned long long)sent,
	    (long long)(at - from), (unsigned long long)count.delivered,
	    (unsigned long long)(count.last - count.first),
	    (unsigned long long)count.altered);
}

static void
prepare(const char *port)
{
	struct rlimit limit;
	const char *where = getenv("ADDRESS");

	address.sin_family = AF_INET;
	address.sin_port = htons((uint16_t)atoi(port));
	inet_pton(AF_INET, where ? where : "127.0.0.1", &address.sin_addr);
	signal(SIGPIPE, SIG_IGN);
	if (getrlimit(RLIMIT_NOFILE, &limit) == 0) {
		limit.rlim_cur = limit.rlim_max;
		setrlimit(RLIMIT_NOFILE, &limit);
	}
}

int
main(int argc, char **argv)
{
	const char *what = argc > 2 ? argv[1] : "";
	uint32_t ms = argc > 3 ? (uint32_t)atoi(argv[argc - 1]) : 0;

	if (argc > 2)
		prepare(argv[2]);
	if (argc == 3 && strcmp(what, "serve") == 0)
		serve();
	else if (argc == 6 && strcmp(what, "bulk") == 0)
		bulk(argv[3], atoi(argv[4]), ms);
	else if (argc == 4 && strcmp(what, "ping") == 0)
		ping(SOCK_STREAM, 1, ms);
	else if (argc == 5 && strcmp(what, "turns") == 0)
		ping(SOCK_DGRAM, (size_t)atoi(argv[3]), ms);
	else if (argc == 5 && strcmp(what, "crr") == 0)
		crr(NULL, atoi(argv[3]), ms);
	else if (argc == 7 && strcmp(what, "proxy") == 0)
		crr(proxy_exchange(argv[4], atoi(argv[3])), atoi(argv[5]), ms);
	else if (argc == 4 && strcmp(what, "idle") == 0)
		idle((int)ms);
	else if (argc == 6 && strcmp(what, "flood") == 0)
		flood((size_t)atoi(argv[3]), (uint64_t)atoll(argv[4]), ms);
	else {
		fputs("usage: the head of bench/load.c\n", stderr);
		return 2;
	}
	return 0;
}
