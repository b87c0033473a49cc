/* Sends pages of open connections and flows, and asks for them. */

#include <errno.h>
#include <poll.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>
#include <sys/types.h>

#include "base/clock.h"
#include "base/io.h"
#include "mapper/command.h"
#include "mapper/rows.h"

static size_t
page_size(uint32_t n)
{
	return offsetof(struct rows_reply, rows) + n * sizeof(struct row);
}

void
rows_send(int channel, const struct rows_reply *reply)
{
	send(channel, reply, page_size(reply->n), MSG_NOSIGNAL | MSG_DONTWAIT);
}

/* Returns true if the n bytes are the page that was asked for. */
static bool
is_page(const struct rows_reply *reply, ssize_t n, uint32_t token)
{
	return n >= (ssize_t)page_size(0) && reply->token == token &&
	    reply->n <= ROWS_MAX && n == (ssize_t)page_size(reply->n);
}

int
rows_ask(int channel, uint32_t token, uint32_t cursor, struct rows_reply *reply,
    msec deadline)
{
	const struct rows_request request = {CMD_ROWS, token, cursor};
	struct pollfd ready = {.fd = channel, .events = POLLIN};
	ssize_t n;

	if (send(channel, &request, sizeof(request),
		MSG_NOSIGNAL | MSG_DONTWAIT) == -1)
		return -1;
	do {
		if (io_wait(&ready, 1, deadline) == -1)
			return -1;
		n = recv(channel, reply, sizeof(*reply), MSG_DONTWAIT);
		if (n == 0)
			return fail_errno(ECONNRESET);
	} while (!is_page(reply, n, token) && now_ms() < deadline);
	return is_page(reply, n, token) ? 0 : fail_errno(ETIMEDOUT);
}
