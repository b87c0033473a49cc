/* The clients of the benchmark that connect, exchange bytes and close. */

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "bench/load.h"

enum {
	SILENCE = 2000, /* ms, after which clients have failed */
	HEAD = 2048,
};

struct client {
	int fd;
	const struct exchange *at;
	bool asked, kept;
	size_t got;      /* bytes behind the head */
	char head[HEAD]; /* of HTTP, with a NUL */
	size_t heard;    /* bytes of it */
	int64_t from;
};

static const struct exchange *script;

static void
begin(int epoll, struct client *c)
{
	struct epoll_event ev = {.events = EPOLLOUT, .data.ptr = c};

	*c = (struct client){.from = ns(), .at = script};
	c->fd = open_socket(SOCK_STREAM | SOCK_NONBLOCK, true);
	if (epoll_ctl(epoll, EPOLL_CTL_ADD, c->fd, &ev) == -1)
		die("epoll_ctl");
}

static int
ask(struct client *c)
{
	const struct exchange *x = c->at;

	c->heard = c->got = 0;
	return send(c->fd, x->send, x->length, MSG_NOSIGNAL) ==
		(ssize_t)x->length
	    ? 0
	    : -1;
}

static bool
has_head(const struct client *c)
{
	return !c->at->head ||
	    (c->heard > 4 &&
		memcmp(c->head + c->heard - 4, "\r\n\r\n", 4) == 0);
}

/* Counts bytes that have come. Returns false if more came than is wanted. */
static bool
hear_bytes(struct client *c, size_t n)
{
	size_t i = 0;

	for (; i < n && !has_head(c) && c->heard < HEAD - 1; i++) {
		c->head[c->heard++] = (char)data[i];
		c->head[c->heard] = '\0';
	}
	c->got += n - i;
	return c->heard < HEAD - 1 && c->got <= c->at->want &&
	    (!c->heard || strncmp(c->head, "HTTP/1.", 7) == 0 || c->heard < 7);
}

/* Returns 1 after the last exchange, 2 to repeat it, -1 on an error, else 0. */
static int
next_exchange(struct client *c)
{
	const char *status = strchr(c->head, ' ');

	if (c->at->head && (!status || strncmp(status, " 200 ", 5) != 0))
		return -1;
	if (c->at->repeat)
		return strcasestr(c->head, "connection: close") ? 1 : 2;
	c->at++;
	return c->at->send ? ask(c) : 1;
}

/* Moves a client on. Returns as next_exchange(). */
static int
go_on(int epoll, struct client *c)
{
	struct epoll_event ev = {.events = EPOLLIN, .data.ptr = c};
	ssize_t n;

	if (!c->asked) {
		c->asked = true;
		return ask(c) == -1
		    ? -1
		    : epoll_ctl(epoll, EPOLL_CTL_MOD, c->fd, &ev);
	}
	n = recv(c->fd, data, CHUNK, 0);
	if (n <= 0)
		return n == -1 && errno == EAGAIN ? 0 : -1;
	if (!hear_bytes(c, (size_t)n))
		return -1;
	return has_head(c) && c->got == c->at->want ? next_exchange(c) : 0;
}

/*
 * A connection that ends between two exchanges was not kept: no error. Returns
 * whether the client has gone on.
 */
static bool
repeat(struct client *c)
{
	c->from = ns();
	c->kept = true;
	return ask(c) == 0;
}

void
crr(const struct exchange *all, int clients, uint32_t ms)
{
	static const unsigned char message[ECHO] = {ASK_ECHO};
	static const struct exchange echo[] = {{message, ECHO, .want = ECHO},
	    {0}};
	struct client *client = zeroed((size_t)clients, sizeof(*client));
	struct epoll_event ev[EVENTS];
	int epoll = epoll_create1(EPOLL_CLOEXEC), n, result, left = clients;
	int64_t from = ns(), until = from + ms * INT64_C(1000000), at = from;
	size_t errors = 0, count = 0;

	script = all ? all : echo;
	for (int i = 0; i < clients; i++)
		begin(epoll, &client[i]);
	while (left && (n = epoll_wait(epoll, ev, EVENTS, SILENCE)) > 0) {
		for (int i = 0; i < n; i++) {
			struct client *c = ev[i].data.ptr;

			result = go_on(epoll, c);
			if (result == 0)
				continue;
			if (result > 0)
				take(c->from);
			if (result == 2 && ns() < until && repeat(c))
				continue;
			errors += result == -1 && !(c->kept && !c->heard);
			close(c->fd);
			if (ns() < until)
				begin(epoll, c);
			else
				left--;
		}
		if (ns() < until) {
			at = ns();
			count = samples;
		}
	}
	sort_samples();
	printf("%zu %lld %u %u %u %zu\n", count, (long long)(at - from),
	    quantile(500), quantile(990), quantile(1000),
	    errors + (size_t)left);
}

const struct exchange *
proxy_exchange(const char *way, int port)
{
	static unsigned char message[ECHO] = {ASK_ECHO}, text[512];
	static struct exchange all[4];
	struct exchange *x = all;
	const unsigned char to[] = {5, 1, 0, 1, 127, 0, 0, 1,
	    (unsigned char)(port >> 8), (unsigned char)port};
	bool http = strcmp(way, "http") == 0, keep = strcmp(way, "keep") == 0;

	if (strcmp(way, "socks5") == 0) {
		memcpy(text, to, sizeof(to));
		*x++ = (struct exchange){"\5\1", 3, .want = 2};
		*x++ = (struct exchange){text, sizeof(to), .want = 10};
	} else if (http || keep) {
		snprintf((char *)text, sizeof(text),
		    "GET http://127.0.0.1:%d/ HTTP/1.1\r\n"
		    "Host: 127.0.0.1:%d\r\nUser-Agent: load\r\n"
		    "Accept: */*\r\n%s\r\n",
		    port, port, keep ? "" : "Connection: close\r\n");
		*x = (struct exchange){text, strlen((char *)text), true, ECHO,
		    keep};
		return all;
	} else {
		snprintf((char *)text, sizeof(text),
		    "CONNECT 127.0.0.1:%d HTTP/1.1\r\n"
		    "Host: 127.0.0.1:%d\r\n\r\n",
		    port, port);
		*x++ = (struct exchange){text, strlen((char *)text), true, 0,
		    false};
	}
	*x = (struct exchange){message, ECHO, .want = ECHO};
	return all;
}
