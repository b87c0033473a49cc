/* Commands of the server and replies of a mapper, over the mapper's channel. */

#ifndef MAPPER_COMMAND_H
#define MAPPER_COMMAND_H

#include <signal.h>

struct rows_request;

/*
 * A command is one byte, a value of this type; CMD_ROWS is a struct. A mapper
 * drains at any command but CMD_NONE and CMD_ROWS.
 */
enum mapper_command {
	CMD_NONE = 0,    /* there is no command to read */
	CMD_ENDED = 'e', /* the server has exited, killed or not: drain */
	CMD_DRAIN = 'd', /* close the listeners, finish, exit */
	CMD_KILL = 'k',  /* drain; CHILD_KILL_SIGNAL ends all connections */
	CMD_ROWS = 'r'   /* send a page of open connections, see rows.h */
};

/*
 * The signal that ends connections and workers. The server sends it to the
 * process group of the mapper with CMD_KILL, because no filter allows mappers,
 * connections and workers to kill. Mappers block it; their children call
 * unblock_kill_signal() first.
 */
#define CHILD_KILL_SIGNAL SIGUSR2
void unblock_kill_signal(void);

/*
 * Returns the next command, without blocking, and fills the request of
 * CMD_ROWS. Returns CMD_ENDED at the end of
 * the channel, each time, so that the caller must stop polling the channel.
 */
enum mapper_command mapper_read_command(int channel, struct rows_request *);

/*
 * Replies to the server: 0, or the errno of the set-up that failed. Returns -1
 * with errno if the server has exited.
 */
int mapper_send_reply(int channel, int error);

#endif
