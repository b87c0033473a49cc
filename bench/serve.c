/* The server of the benchmark. */

#include <errno.h>
#include <netinet/tcp.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "bench/load.h"

enum {
	DATAGRAM = 65507
};

static void
forget(struct stream *s)
{
	close(s->fd);
	free(s);
}

/*
 * Reads the request. Returns 1 if it is whole, 0 if more bytes are to come, -1
 * if the connection has ended.
 */
static int
hear(struct stream *s)
{
	uint32_t ms;
	ssize_t n = recv(s->fd, s->ask + s->asked,
	    s->asked ? ASK_SIZE - s->asked : 1, MSG_DONTWAIT | MSG_PEEK);

	if (n <= 0)
		return n == 0 || errno != EAGAIN ? -1 : 0;
	s->echo = s->ask[0] == ASK_ECHO;
	s->http = s->ask[0] == ASK_HTTP;
	if (s->echo || s->http)
		return 1;
	recv(s->fd, s->ask + s->asked, (size_t)n, MSG_DONTWAIT);
	s->asked += (size_t)n;
	if (s->asked < ASK_SIZE)
		return 0;
	memcpy(&ms, s->ask + 1, sizeof(ms));
	s->receiving = s->confirming = s->ask[0] & ASK_UP;
	s->sending = s->ask[0] & ASK_DOWN;
	s->until = ns() + ms * INT64_C(1000000);
	return 1;
}

/* Sends received bytes back. Returns -1 when the connection has ended. */
static int
echo(const struct stream *s)
{
	char buf[4096];
	ssize_t n = recv(s->fd, buf, sizeof(buf), MSG_DONTWAIT);

	if (n > 0)
		n = send(s->fd, buf, (size_t)n, MSG_NOSIGNAL | MSG_DONTWAIT);
	return n == 0 || (n == -1 && errno != EAGAIN) ? -1 : 0;
}

/*
 * Answers requests of HTTP, one at a time. Returns -1 when the connection has
 * ended, or is to be closed.
 */
static int
answer_http(const struct stream *s)
{
	static const char head[] = "HTTP/1.1 200 OK\r\nContent-Length: 64\r\n";
	char buf[4096], text[512];
	ssize_t n = recv(s->fd, buf, sizeof(buf) - 1, MSG_DONTWAIT | MSG_PEEK);
	const char *end;
	bool last;

	if (n <= 0)
		return n == 0 || errno != EAGAIN ? -1 : 0;
	buf[n] = '\0';
	end = strstr(buf, "\r\n\r\n");
	if (!end)
		return n == sizeof(buf) - 1 ? -1 : 0;
	recv(s->fd, buf, (size_t)(end + 4 - buf), MSG_DONTWAIT);
	last =
	    strcasestr(buf, "\nConnection: close") || strstr(buf, " HTTP/1.0");
	n = snprintf(text, sizeof(text), "%sConnection: %s\r\n\r\n%064d", head,
	    last ? "close" : "keep-alive", 0);
	n = send(s->fd, text, (size_t)n, MSG_NOSIGNAL | MSG_DONTWAIT);
	return n == -1 || last ? -1 : 0;
}

static void
answer(int epoll, struct stream *s)
{
	int said = 1;

	if (!s->echo && !s->http && s->asked < ASK_SIZE)
		said = hear(s);
	if (said == 1 && s->echo)
		said = echo(s);
	else if (said == 1 && s->http)
		said = answer_http(s);
	else if (said == 1 && advance(epoll, s) &&
	    recv(s->fd, data, 1, MSG_DONTWAIT) == 0)
		said = -1;
	if (said == -1)
		forget(s);
}

static void
greet(int epoll, int listener)
{
	struct stream *s;
	int fd, on = 1;

	while ((fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC)) != -1) {
		setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
		s = zeroed(1, sizeof(*s));
		s->fd = fd;
		watch(epoll, s);
	}
}

/*
 * Serves datagrams by their first byte: sends an 'e' back, counts an 's', whose
 * last byte is the low byte of its length, and answers a 'q' with the counters.
 */
static void
datagrams(int fd, struct count *count)
{
	struct sockaddr_in from;
	void *to = &from;
	socklen_t length = sizeof(from);
	ssize_t n;

	for (int i = 0; i < EVENTS; i++) {
		n = recvfrom(fd, data, DATAGRAM, MSG_DONTWAIT, to, &length);
		if (n <= 0)
			return;
		if (data[0] == 'e') {
			sendto(fd, data, (size_t)n, 0, to, length);
		} else if (data[0] == 'q') {
			sendto(fd, count, sizeof(*count), 0, to, length);
			*count = (struct count){0};
		} else {
			count->last = (uint64_t)ns();
			if (!count->delivered++)
				count->first = count->last;
			count->altered += data[n - 1] != (unsigned char)n;
		}
	}
}

_Noreturn void
serve(void)
{
	struct stream tcp = {0}, udp = {0};
	struct epoll_event ev[EVENTS];
	struct count count = {0};
	int epoll = epoll_create1(EPOLL_CLOEXEC), n;

	tcp.fd = open_socket(SOCK_STREAM | SOCK_NONBLOCK, false);
	udp.fd = open_socket(SOCK_DGRAM, false);
	if (listen(tcp.fd, 4096) == -1)
		die("listen");
	watch(epoll, &tcp);
	watch(epoll, &udp);
	for (;;) {
		n = epoll_wait(epoll, ev, EVENTS, -1);
		for (int i = 0; i < n; i++)
			if (ev[i].data.ptr == &tcp)
				greet(epoll, tcp.fd);
			else if (ev[i].data.ptr == &udp)
				datagrams(udp.fd, &count);
			else
				answer(epoll, ev[i].data.ptr);
	}
}
