/* Sets the options of stream sockets and examines their state. */

#ifndef BASE_SOCK_H
#define BASE_SOCK_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/socket.h>

/*
 * What filters let SO_LINGER be set from, by address: off, and reset. A time
 * could make another process wait that closes the socket, too.
 */
extern const struct linger sock_linger[2];

/*
 * Returns true with errno ECONNABORTED if the client has reset its connection,
 * which must then not reach a target.
 */
bool client_was_reset(int client);

/*
 * Returns true if neither direction of a connection is open any more. Of a TCP
 * socket without shutdown(2) that is a reset.
 */
bool sock_hung_up(int fd);

/*
 * Returns how many bytes were read from a TCP socket before the last n, or -1
 * if that cannot be told: it is closed, bytes keep arriving, it is not TCP.
 */
int64_t sock_skipped(int fd, int64_t n);

/*
 * Returns true if a FIN arrived on a TCP socket from which n bytes were read,
 * and no more are left. The kernel counts a FIN as a received byte.
 */
bool sock_got_fin(int fd, int64_t n);

/*
 * Sets the options of every socket of a connection: TCP_NODELAY, SO_KEEPALIVE,
 * SO_OOBINLINE, and a reset on close(2), which relay() disables when both
 * directions have ended. accept(2) copies them from the listener.
 */
void sock_set_stream_options(int fd);

/* Sets SO_OOBINLINE, which accept(2) does not copy to a UNIX socket. */
void sock_set_oobinline(int fd);

/* Makes close(2) send a reset, or an ordinary end of stream behind the data. */
void sock_reset_on_close(int fd, bool on);

/*
 * Returns the index of a network interface, or 0 with errno. Asks an internet
 * socket, unlike if_nametoindex(3), because filters allow no UNIX socket.
 */
unsigned sock_interface(const char *name);

/*
 * Closes a socket, and ends its stream even if another process has it open:
 * with a reset if SO_LINGER says so, else with a FIN.
 */
void sock_end(int fd);

#endif
