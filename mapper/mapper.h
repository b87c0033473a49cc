/* The contract between the server and its mappers. */

#ifndef MAPPER_MAPPER_H
#define MAPPER_MAPPER_H

#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>
#include <sys/types.h>

struct map;
struct mapper_state;
struct scoreboard;

/* A bound socket of a map: the server opens it, a mapper accepts on it. */
struct listener {
	int fd;
	uint16_t port_index; /* its port, counted from the map's first port */
	sa_family_t family;
};

/* The arguments that the server starts a mapper with. A mapper changes none. */
struct mapper_args {
	const struct map *map;
	const struct listener *listeners;
	size_t n_listeners;
	int channel;     /* to the server, see mapper/command.h */
	int udp_channel; /* to the opener, see tcp/handover.h; or -1 */
	pid_t opener;    /* a child of the mapper, if udp_channel is not -1 */
	/* A connection process has no access, see scoreboard_hide(). */
	struct scoreboard *scoreboard;
	size_t slot;                /* of this mapper */
	_Atomic uint32_t *live;     /* in the page of that slot */
	_Atomic uint64_t *count;    /* in the page of that slot */
	struct mapper_state *state; /* in the page of that slot */
	uint32_t max_open;          /* connections of the map; 0 for UDP */
	uint32_t max_conns;         /* of all mappers together; 0: no limit */
	unsigned role;              /* for sandbox_seccomp(); 0: no filter */
};

#endif
