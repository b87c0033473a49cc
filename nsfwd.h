/*
 * Every type that two files share, and every prototype with its contract,
 * grouped by the file that defines it.
 */

#ifndef NSFWD_H
#define NSFWD_H

#include <netinet/in.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/socket.h>

#include "netns.h"

#ifndef VERSION
#define VERSION "unknown"
#endif

/* Milliseconds: a point of CLOCK_MONOTONIC, or a span where the name says. */
typedef int64_t deadline;

enum proto {
	PROTO_TCP = 1,
	PROTO_UDP = 2
};

enum side_kind {
	SIDE_LOOPBACK, /* no address: 127.0.0.1 and ::1 */
	SIDE_ANY,      /* ":PORT": every address of both families */
	SIDE_INET,
	SIDE_INET6,
	SIDE_HOST,    /* a name, resolved at each connection; targets only */
	SIDE_PATH,    /* UNIX socket in the file system */
	SIDE_ABSTRACT /* UNIX socket in the abstract name space */
};

/* One end of a map: where it listens, or one place it connects to. */
struct side {
	enum side_kind kind;
	char *text;           /* HOST, PATH, ABSTRACT (without '@'): owned */
	char *zone;           /* INET6: interface name or number; owned */
	struct in6_addr addr; /* INET: the first four bytes */
	uint16_t lo, hi;      /* ports, both ends included; 0 for UNIX */
};

/* Spans in milliseconds; 0 is none. */
struct times {
	deadline connect;
	deadline idle;
	deadline half_close;
};

/* Numbers of open connections; 0 is no limit of its own. */
struct limits {
	uint32_t conns;
	uint32_t source;
};

struct map {
	char *word;     /* the user's own text, which messages name; owned */
	unsigned proto; /* PROTO_TCP | PROTO_UDP */
	struct ns from, to;
	struct side listen;
	struct side *target; /* owned, in the order they are tried */
	size_t targets;
	struct times times;
	struct limits max;
};

/* The whole configuration. */
struct conf {
	struct map *map;
	size_t maps;
	uint32_t max_conns; /* over all maps */
	deadline drain;     /* span given to connections after TERM */
	int ready_fd;       /* gets a line when all maps serve; -1 none */
};

/* spec.c */

/* What a map takes where its word is silent. */
struct defaults {
	struct ns from, to;
	struct times times;
	struct limits max;
};

/* Why a word was refused, where in it (column counts from 1), how long. */
struct spec_error {
	size_t column, length;
	char reason[160];
};

/*
 * Parses one map. 0 and *map, which spec_free releases; or -1, *error filled
 * and nothing to release.
 */
int spec_parse(struct map *, const char *word, const struct defaults *,
    struct spec_error *);
void spec_free(struct map *);

/*
 * Writes the canonical form, which spec_parse reads as the same map under the
 * built-in defaults (struct defaults base), into buf as snprintf(3) does.
 */
int spec_print(const struct map *, const struct defaults *base, char *buf,
    size_t size);

/*
 * A span of time: a number with at most three decimals and a unit (ms, s, m, h, d; s
 * where there is none), or a count from lo to hi. The whole word must be used.
 * 0, or -1 with the reason, a string constant, in *why.
 */
int spec_time(const char *word, size_t length, deadline *, const char **why);
int spec_count(const char *word, size_t length, uint32_t lo, uint32_t hi,
    uint32_t *, const char **why);

/* listen.c */

/* A bound socket of a map: the server opens it, the mapper accepts on it. */
struct listener {
	int fd;
	uint16_t index; /* of its port in the map's range */
};

/* All of one map. */
struct listeners {
	struct listener *listener; /* owned, as are the descriptors */
	size_t count;
};

/*
 * Opens and binds the map's listeners in its source namespace; nobody can
 * connect to them yet. 0; or -1, with the reason logged, or with errno and
 * *entered 0 if it is the namespace that cannot be entered, see ns_call().
 * What was opened is in *set in any case, for listen_close().
 */
int listen_open(struct listeners *set, const struct map *, int *entered);

/* Lets clients connect. 0, or -1 with the reason logged. */
int listen_begin(const struct listeners *set, const struct map *);

/* Closes them all, and removes the file of a UNIX socket. */
void listen_close(struct listeners *set, const struct map *);

/* side.c */

/*
 * Reads one end of a map, its namespace cut off; a target may be a host name.
 * 0 and *side, which side_free releases; or -1, *error filled as if the text
 * were the word, and nothing to release.
 */
int side_parse(struct side *, const char *text, size_t length, bool listens,
    struct spec_error *);
void side_free(struct side *);

/* How many ports: a UNIX socket counts as one. */
unsigned side_ports(const struct side *);

/* Writes the canonical form into buf as snprintf(3) does. */
int side_print(const struct side *, char *buf, size_t size);

/* serve.c */

/* Of one mapper, in memory that it shares with the server. */
struct total {
	_Atomic uint32_t live; /* open connections */
	_Atomic uint64_t conns, failed, up, down;
};

/* What a mapper is born with. */
struct post {
	const struct map *map;
	struct listener *listener;
	size_t listeners;
	int channel;         /* to the server: ends when the server does */
	struct total *total; /* of all mappers */
	size_t totals, own;  /* how many, and which is this one's */
	uint32_t max_conns;  /* over all mappers */
};

/* What the server may write into the channel. */
enum order {
	ORDER_DRAIN = 'd', /* close the listeners, finish, exit */
	ORDER_KILL = 'k'   /* reset every connection, exit */
};

/*
 * Opens every listener, starts every mapper, says ready, and serves until a
 * signal ends it. Returns the exit status; what went wrong has been logged.
 */
int serve(struct conf *);

/* tcp.c */

/* The life of a mapper of TCP connections, in its destination namespace. */
_Noreturn void tcp_main(const struct post *);

/* dial.c */

enum phase {
	PHASE_DIAL,
	PHASE_RESOLVE,
	PHASE_RELAY,
	PHASE_DONE
};

/* How a connection ended, as it says itself. */
enum end {
	END_NONE,   /* it did not say: killed or crashed */
	END_CLOSED, /* both sides ended, every byte delivered */
	END_DIAL,   /* no target could be reached */
	END_CLIENT, /* the client reset it or could not be written to */
	END_TARGET, /* the target did */
	END_IDLE,   /* a time limit passed */
	END_LOCAL   /* something this machine ran out of */
};

/*
 * What a connection reports. It lies in memory shared with the mapper, which
 * prints it and acts on none of it.
 */
struct tally {
	uint64_t up, down; /* bytes delivered to the target, to the client */
	int32_t phase, end, error;
	uint32_t target; /* index of the one dialled last */
};

/*
 * Fills *addr with the side's socket address for the port lo + index, in the
 * namespace one is in: a zone is looked up there. Returns its length, or 0
 * with errno (ENODEV no such zone). LOOPBACK and ANY give the family asked
 * for, AF_INET or AF_INET6; HOST gives EINVAL.
 */
socklen_t dial_address(struct sockaddr_storage *addr, const struct side *,
    unsigned index, int family);

/*
 * Connects to the map's targets in order, each address of each, the port lo +
 * index, until map->times.connect has passed; what is left of it is shared
 * evenly among the targets still to try. Gives up when the client resets.
 * Returns a non-blocking socket that has seen relay_prepare(), or -1 with errno: ETIMEDOUT, ECONNABORTED
 * (the client went away), or that of the last target's first address.
 */
int dial(const struct map *, unsigned index, int client, struct tally *);

/* relay.c */

/*
 * Moves bytes both ways between two non-blocking stream sockets until both
 * directions have ended, and sets tally->end. 0 when every byte was delivered
 * and both ends were passed on; else -1, and both sockets, which have seen
 * relay_prepare(), are left so that close(2), or the end of the process, resets
 * them.
 */
int relay(int client, int server, const struct times *, struct tally *);

/*
 * Sets on a new socket what every socket of a connection has: no Nagle delay,
 * keepalive, urgent data in line, and a reset on close(2) until relay() has
 * seen both ends. A listener hands all of it down to what it accepts.
 */
void relay_prepare(int fd);

/* sandbox.c */

/* Closes every descriptor from fd on. */
void sandbox_close_from(int fd);

/* Closes every descriptor above 2 but the n given ones, and sorts these. */
void sandbox_close_others(int *keep, size_t n);

/* log.c */

enum log_level {
	LOG_QUIET,  /* errors */
	LOG_NORMAL, /* also start, stop, failed connections */
	LOG_VERBOSE /* also every connection */
};

/*
 * One event, one line, one write(2) to descriptor 2, after "nsfwd: ". Control
 * bytes are shown as "\xNN". errno is preserved. Nothing is allocated.
 */
void log_level(enum log_level);
void log_error(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
void log_info(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
void log_debug(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

/* At most one line a second; says how many were left out. */
void log_limited(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

/*
 * The name of an errno, or of an error of getaddrinfo(3), which are negative:
 * "ECONNREFUSED", "EAI_NONAME"; "E123" for one it does not know.
 */
const char *log_errno(int);

/* "10.0.0.1:80", "fd00::1/80", "unix"; v4-mapped as v4. buf holds 80 bytes. */
#define LOG_ADDR 80
const char *log_addr(const struct sockaddr *, char *buf);

/* The current time of CLOCK_MONOTONIC. */
deadline now(void);

#endif
