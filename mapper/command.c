/* Reads the commands of the server and replies to them, in a mapper. */

#include <errno.h>
#include <signal.h>
#include <stddef.h>
#include <sys/socket.h>
#include <sys/types.h>

#include "mapper/command.h"
#include "mapper/rows.h"

void
unblock_kill_signal(void)
{
	sigset_t set;

	sigemptyset(&set);
	sigaddset(&set, CHILD_KILL_SIGNAL);
	sigprocmask(SIG_UNBLOCK, &set, NULL);
}

enum mapper_command
mapper_read_command(int channel, struct rows_request *request)
{
	ssize_t n = recv(channel, request, sizeof(*request), MSG_DONTWAIT);

	if (n > 0 && request->command == CMD_ROWS)
		return n == sizeof(*request) ? CMD_ROWS : CMD_NONE;
	if (n > 0)
		return (enum mapper_command)request->command;
	if (n == -1 && (errno == EAGAIN || errno == EINTR))
		return CMD_NONE;
	return CMD_ENDED;
}

int
mapper_send_reply(int channel, int error)
{
	return send(channel, &error, sizeof(error), MSG_NOSIGNAL) == -1 ? -1
									: 0;
}
