/* Sockets and bulk transfers, for both ends of the benchmark. */

#include <errno.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>

#include "bench/load.h"

struct sockaddr_in address;
unsigned char data[CHUNK];
static unsigned char more[CHUNK], end[CHUNK] = {[CHUNK - 1] = 1};

_Noreturn void
die(const char *what)
{
	perror(what);
	exit(1);
}

int64_t
ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (int64_t)ts.tv_sec * 1000000000 + ts.tv_nsec;
}

void *
zeroed(size_t count, size_t size)
{
	void *memory = calloc(count, size);

	if (!memory)
		die("calloc");
	return memory;
}

int
open_socket(int type, bool connected)
{
	int fd = socket(AF_INET, type | SOCK_CLOEXEC, 0), on = 1;
	int room = 4 << 20;
	const void *to = &address;

	if (fd == -1)
		die("socket");
	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
	if ((type & 0xf) == SOCK_STREAM) {
		setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
	} else {
		setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &room, sizeof(room));
		setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &room, sizeof(room));
	}
	if (!connected && bind(fd, to, sizeof(address)) == -1)
		die("bind");
	if (connected && connect(fd, to, sizeof(address)) == -1 &&
	    errno != EINPROGRESS)
		die("connect");
	return fd;
}

void
watch(int epoll, struct stream *s)
{
	uint32_t out = s->sending || s->confirming ? EPOLLOUT : 0;
	struct epoll_event ev = {.events = EPOLLIN | out, .data.ptr = s};

	if (ev.events == s->events)
		return;
	if (epoll_ctl(epoll, s->events ? EPOLL_CTL_MOD : EPOLL_CTL_ADD, s->fd,
		&ev) == -1)
		die("epoll_ctl");
	s->events = ev.events;
}

/*
 * Sends. Returns false if there is no room. The last chunk begins once the time
 * is over.
 */
static bool
push(struct stream *s)
{
	ssize_t n;

	if (s->sent == 0)
		s->last = ns() >= s->until;
	n = send(s->fd, (s->last ? end : more) + s->sent, CHUNK - s->sent,
	    MSG_NOSIGNAL | MSG_DONTWAIT);
	if (n == -1) {
		if (errno != EAGAIN)
			die("send");
		return false;
	}
	s->bytes += (uint64_t)n;
	s->sent = (s->sent + (size_t)n) % CHUNK;
	if (s->sent == 0 && s->last)
		s->sending = false;
	return true;
}

/*
 * Receives. Returns false if nothing has arrived. Only the last chunk has a
 * byte that is not 0.
 */
static bool
pull(struct stream *s)
{
	ssize_t n = recv(s->fd, data, CHUNK - s->received, MSG_DONTWAIT);

	if (n == 0 || (n == -1 && errno != EAGAIN))
		die("recv");
	if (n == -1)
		return false;
	s->bytes += (uint64_t)n;
	s->received = (s->received + (size_t)n) % CHUNK;
	if (s->received == 0 && data[n - 1])
		s->receiving = false;
	return true;
}

/* Sends and receives bulk. Returns true when both directions are confirmed. */
bool
advance(int epoll, struct stream *s)
{
	char byte = 'k';

	while (s->receiving && pull(s))
		;
	for (int i = 0; i < 8 && s->sending && push(s); i++)
		;
	if (s->confirming && !s->sending && !s->receiving &&
	    send(s->fd, &byte, 1, MSG_NOSIGNAL | MSG_DONTWAIT) == 1)
		s->confirming = false;
	if (s->awaiting && !s->sending && !s->receiving &&
	    recv(s->fd, &byte, 1, MSG_DONTWAIT) == 1)
		s->awaiting = false;
	watch(epoll, s);
	return !s->sending && !s->receiving && !s->confirming && !s->awaiting;
}
