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
#include <sys/types.h>

#include "netns.h"

#ifndef VERSION
#define VERSION "unknown"
#endif

/* Milliseconds: a point of CLOCK_MONOTONIC, or a span where the name says. */
typedef int64_t msec;
#define NEVER INT64_MAX

enum proto {
	PROTO_TCP = 1,
	PROTO_UDP = 2
};

/* Of a client or a target; what its family does not use is zero. */
union sockaddr_inet {
	struct sockaddr sa;
	struct sockaddr_in v4;
	struct sockaddr_in6 v6;
};

enum endpoint_kind {
	SIDE_LOOPBACK, /* no address: 127.0.0.1 and ::1 */
	SIDE_ANY,      /* ":PORT": every address of both families */
	EP_IPV4,
	EP_IPV6,
	SIDE_HOST,    /* a name, resolved at each connection; targets only */
	EP_UNIX_PATH, /* UNIX socket in the file system */
	EP_UNIX_ABSTRACT, /* UNIX socket in the abstract name space */
	SIDE_SYSTEMD,     /* sockets handed to us by that name; listens only */
	SIDE_PROXY, /* where the client asks for, as of a proxy; targets only */
	SIDE_STDIO  /* "-": one connection on standard input and output */
};

/* One end of a map: where it listens, or one place it connects to. */
struct endpoint {
	enum endpoint_kind kind;
	char *arg;            /* as the user wrote it, without NS@; owned */
	char *name;           /* HOST, PATH, a NAME (without '@'); owned */
	char *zone;           /* INET6: interface name or number; owned */
	struct in6_addr addr; /* INET: the first four bytes */
	uint16_t port_first,
	    port_last; /* ports, both ends included; 0 for UNIX */
};

/* Spans in milliseconds; 0 is none. */
struct timeouts {
	msec connect;
	msec idle;
	msec half_close;
	msec udp_one_way; /* a UDP flow that was not answered */
	msec udp;         /* one that was */
};

/* Numbers of open connections; 0 is no limit of its own. */
struct limits {
	uint32_t conns;
	uint32_t per_source;
	uint32_t flows; /* of UDP; never 0 */
};

/* IPv4 as v4-mapped, its bits counted from 96. */
struct cidr {
	struct in6_addr addr;
	uint8_t bits;
};

struct cidr_list {
	struct cidr *items; /* owned */
	size_t count;
};

enum balance {
	BALANCE_FIRST, /* in order, the first that answers */
	BALANCE_ROUND,
	BALANCE_HASH /* by the client's address */
};

enum hop_kind {
	HOP_HTTP,
	HOP_SOCKS5
};

/* A proxy on the way to the target. */
struct hop {
	enum hop_kind kind;
	struct endpoint side;
	char *user, *password; /* owned; NULL: none */
	char *auth_file;       /* the file that they are in; owned, or NULL */
};

#define WORKERS_MAX 256
#define TARGETS_MAX 64

/* A user and a group. */
struct cred {
	uid_t uid;
	gid_t gid;
	bool explicit; /* by the user: it is an error if that cannot be */
};

struct map {
	char *spec;     /* the user's own text, which messages name, with no
			   password in it: see mask_text(); owned */
	char *exact;    /* the same text with passwords, never shown; owned */
	char *origin;   /* it was read: "" or "FILE:LINE: "; owned */
	unsigned proto; /* PROTO_TCP | PROTO_UDP */
	struct ns listen_ns, target_ns;
	struct endpoint listen;
	struct endpoint *targets; /* owned, in the order they are tried */
	size_t n_targets;
	struct hop *hops; /* owned, the nearest first; its namespace is to */
	size_t n_hops;
	enum balance balance;
	unsigned send_proxy; /* PROXY protocol said to the target: 1, 2 */
	struct cidr_list accept_proxy; /* whose clients say it to us */
	struct cidr_list reach; /* what a proxy may reach besides the rest */
	struct cidr_list allow, deny; /* of clients */
	char *user, *password; /* of a proxy's clients; owned; NULL: none */
	char *auth_file;       /* the file that they are in; owned, or NULL */
	char *owner; /* USER[:GROUP] of a UNIX listener, or NULL; owned */
	struct cred owner_cred; /* the same, once somebody has looked it up */
	uint32_t unix_mode;     /* its permissions; 0: those of the umask */
	char *dev;              /* of sockets to the target, owned, or NULL */
	struct endpoint src; /* their address, INET or INET6; SIDE_ANY: none */
	uint32_t mark;       /* their mark; 0: none */
	uint32_t workers;    /* event loops; 0: a process a connection */
	struct timeouts times;
	struct limits limits;
	bool no_offload; /* UDP without segmentation offload */
};

/* The whole configuration. */
struct config {
	struct map *maps;
	size_t n_maps;
	uint32_t max_conns;     /* over all maps */
	msec drain_timeout;     /* span given to what is to end */
	int ready_fd;           /* gets a line when all maps serve; -1 none */
	struct cred owner_cred; /* of the mappers */
	int no_sandbox;         /* without filters of system calls */
	int pin;         /* the server gives up all privileges once it serves */
	int wait_for_ns; /* for namespaces that are not there yet */
	int daemonize;   /* as a daemon */
	int syslog;      /* instead of standard error */
	const char *pidfile, *stats; /* paths, or NULL */
	bool has_files, reloading;   /* some were read; they are read again */

	/* Reads the maps again, into fresh: 0, or -1 with the reason logged. */
	int (*reread)(const struct config *, struct config *fresh);
};

/* spec.c */

/*
 * Parses one map; the namespaces, times and limits that its word does not
 * give are those of *usual. NULL, and *map, which spec_free releases; or why
 * the word is wrong, a string constant, what is wrong in it and how much of
 * that a message should show.
 */
const char *map_parse(struct map *, const char *word,
    const struct map *defaults, const char **part, int *length);
void map_free(struct map *);

/* Reads a namespace as ns_parse() does, and refuses what may be a password. */
const char *map_set_ns(struct ns *, const char *word);
void config_free_maps(struct config *); /* all of its maps */

/* True if two maps of one usual are the same, with all secrets. */
bool map_equal(const struct map *, const struct map *);

/* True if both listen in one place, as far as their words tell. */
bool map_conflicts(const struct map *, const struct map *);

/* True if a target, or the first hop, of a is where b listens, alike. */
bool map_leads_to(const struct map *a, const struct map *b);

/*
 * Writes the canonical form, which spec_parse reads as the same map where
 * base, the built-in defaults, is usual.
 */
void map_print(FILE *, const struct map *, const struct map *builtin);

/* Two new strings of "USER:PASSWORD". NULL, or why not, a string constant. */
const char *parse_user_password(const char *text, char **user, char **password);

/*
 * A whole number from least, 0 or 1, to a million; a span of time: a number
 * with at most three decimals and a unit (ms, s, m, h, d; s where there is
 * none). NULL, or why the word is none, a string constant.
 */
const char *parse_count(const char *word, uint32_t least, uint32_t *);
const char *parse_duration(const char *word, msec *);

/* listen.c */

/* A bound socket of a map: the server opens it, the mapper accepts on it. */
struct listener {
	int fd;
	uint16_t port_index; /* of its port in the map's range */
	sa_family_t family;
};

/* All of one map. */
struct listeners {
	struct listener *items; /* owned, as are the descriptors */
	size_t count;
	size_t
	    n_udp_relays; /* behind these, UDP sockets for a proxy's clients */
	dev_t dev;        /* of the file that a UNIX socket made */
	ino_t ino;
};

/*
 * Opens and binds the map's listeners in its source namespace; nobody can
 * connect to them yet, but to a UNIX socket. 0; or -1 with errno, and *entered
 * 0 if it is the namespace that cannot be entered, see ns_call(). The reason
 * is logged if it is the other and no errno that the caller knows already, in
 * words that fit if it waits. *set has what was opened, for listen_close().
 */
int listen_open(struct listeners *set, const struct map *, enum proto,
    int *entered, int quiet_errno, bool waits);

/*
 * Opens the spares anew, where there are to be any: of the old ones, a mapper
 * that drains may have given some to its clients.
 */
void listen_reopen_udp_relays(struct listeners *, const struct map *);

/* True if the listeners of one map will do for the other. */
bool listen_reusable(const struct map *, const struct map *);

/* How many descriptors, from 3 on, were handed to us by $LISTEN_FDS. */
int systemd_fd_count(void);

/* Has TCP sockets listen, or do so again: 0, or -1, logged unless known. */
int listen_start(const struct listeners *set, const struct map *,
    int quiet_errno);

/* Ends them all, and removes the file of a UNIX socket if it is ours. */
void listen_close(struct listeners *set, const struct map *);

/* side.c */

/*
 * Reads one end of a map, its namespace cut off, from a text that it may take
 * to pieces: a target of a map on which so many ports listen, or, for 0, what
 * listens. NULL; or why it is wrong, a string constant, and *part points to
 * what is. side_free releases *side in any case.
 */
const char *endpoint_parse(struct endpoint *, char *text, unsigned ports,
    const char **part);
void endpoint_free(struct endpoint *);

/* True if both are the same but for their ports. */
bool endpoint_equal(const struct endpoint *, const struct endpoint *);

/*
 * True if who connects to a target, in the namespace of what listens, meets
 * that on one of its ports, as far as the words tell.
 */
bool endpoint_leads_to(const struct endpoint *to,
    const struct endpoint *listen);

/* Writes the canonical form. */
void endpoint_print(FILE *, const struct endpoint *);

/* Reads the address of a map's sockets; the rest as side_parse(). */
const char *parse_source_addr(struct endpoint *, char *text, const char **part);
/* Reads the name of an interface into a string of the caller's. */
const char *parse_ifname(char **device, const char *text);

/*
 * ADDR or ADDR/BITS. NULL, or why the text, which it may take to pieces, is
 * none of these, a string constant.
 */
const char *cidr_parse(struct cidr *, char *text);
void cidr_print(FILE *, const struct cidr *);

/* True if an item holds the address: an IPv4 one also when it is v4-mapped. */
bool cidr_match(const struct cidr_list *, const union sockaddr_inet *);

/* True if a client with that address may come: deny= wins. */
bool map_allows_client(const struct map *, const union sockaddr_inet *);

/* A listener for both families shows IPv4 clients as v4-mapped: as IPv4. */
union sockaddr_inet unmap_v4(const struct sockaddr_storage *);

/* Reads a whole number from least to most: false when the text is none. */
bool parse_uint(const char *text, uint32_t least, uint32_t most, uint32_t *);

/* serve.c */

/*
 * Opens every listener, starts every mapper, says ready, and serves until a
 * signal ends it. Returns the exit status; what went wrong has been logged.
 */
int server_run(struct config *);

/* title.c */

/* Remembers where ps(1) reads from; moves the environment out of the way. */
void proctitle_init(int argc, char **argv);

/* What ps(1) shows of this process, after "nsfwd: ". */
void proctitle_set(const char *what, const char *of, const char *more);

/* stdio.c */

/* Serves the one map, of which LISTEN is "-", in the place of serve(). */
int stdio_run(const struct config *);

/* dial.c */

#define HOSTPORT_MAX 264 /* HOST:PORT, with its NUL */

/* How a connection ended, as it says itself. */
enum end_reason {
	END_NONE,     /* it did not say: killed or crashed */
	END_CLOSED,   /* both sides ended, every byte delivered */
	END_DIAL,     /* no target could be reached */
	END_CLIENT,   /* the client reset it or could not be written to */
	END_TARGET,   /* the target did */
	END_IDLE,     /* a time limit passed */
	END_LOCAL,    /* something this machine ran out of */
	END_HANDSHAKE /* the client did not say, or show, what it had to */
};

/*
 * What a connection reports. It lies in memory shared with the mapper, which
 * prints it and acts on none of it.
 */
struct conn_report {
	uint64_t up, down; /* bytes delivered to the target, to the client */
	int32_t resolving, end, error;
	uint32_t target;          /* index of the one dialled last */
	union sockaddr_inet peer; /* and its address, once known; not of UNIX */
	union sockaddr_inet client;   /* as a PROXY header has it; else zero */
	int32_t hop_status;           /* what a hop said; 0: nothing bad */
	char requested[HOSTPORT_MAX]; /* of a proxy, HOST:PORT */
};

#define TARGET_BACKOFF_MS 10000 /* of a target that failed */

/* What dial() has to know of a connection. */
struct conn {
	const struct map *map;
	int client;
	int udp_fd;          /* for a proxy: bound where client is; or -1 */
	unsigned port_index; /* of the port in the map's range */
	union sockaddr_inet peer,
	    local;    /* the client, and what it connected to */
	uint32_t seq; /* how many connections there were before */
	_Atomic msec *target_failed_at; /* when each target last did, or NULL */
	const struct endpoint
	    *requested; /* by a proxy's client, for the target */
	msec deadline;  /* 0: dial_until() of now */
	int refused;    /* the error of a write to the target, or 0 */
	struct conn_report *report;
};

/*
 * Connects to what was asked for or else to the map's targets, each address
 * of each, the port lo + index, and says what hops and targets are to hear
 * first, until call->until; what is left of it is shared evenly among the
 * targets still to try. balance= says where it begins; a target that failed
 * within the last 10 s comes after the others. Gives up when the client resets.
 * A name that is not resolved in its share of the time ends the process.
 * Returns a non-blocking socket that has seen relay_prepare(), or -1 with
 * errno: ETIMEDOUT, ECONNABORTED (the client went away), EACCES (a proxy may
 * not reach it), or that of the last target's first address.
 */
int dial(const struct conn *);

/* The deadline of a connection that began then, by connect-timeout. */
msec connect_deadline(const struct map *, msec started_at);

/* True if a client of a proxy may reach the address, see reach=. */
bool reach_allows(const struct map *, const void *addr);

/* A client that was reset must not reach the target any more: ECONNABORTED. */
bool client_was_reset(int client);

/* One of the places a map's datagrams may go to. */
struct target_addr {
	struct sockaddr_storage addr; /* with the first port of the range */
	socklen_t length;
	uint32_t target; /* its index in the map */
};

/*
 * Resolves all targets of a UDP map into at most max candidates, in the order
 * they are tried, and returns how many; 0 with errno, or an error of
 * getaddrinfo(3), of the last target. Waits for a name as long as
 * getaddrinfo(3) does.
 */
size_t resolve_targets(const struct map *, struct target_addr *, size_t max);

/* attempt.c */

/*
 * Fills *addr with the side's socket address for the port lo + index, in the
 * namespace one is in: a zone is looked up there. Returns its length, or 0
 * with errno (ENODEV no such zone). LOOPBACK and ANY give the family asked
 * for, AF_INET or AF_INET6; HOST gives EINVAL.
 */
socklen_t endpoint_sockaddr(struct sockaddr_storage *addr,
    const struct endpoint *, unsigned index, int family);

/* Sets src=, dev= and mark= of the map on a new socket. -1 with errno. */
int set_source_options(int fd, const struct map *, int family);

/* Closes it: -1, errno preserved. */
int close_keep_errno(int fd);

/* True if a socket was connected to its own address, by a port of chance. */
bool is_self_connected(int fd, const void *peer, socklen_t length);

/* relay.c */

/*
 * Sets on a new socket what every socket of a connection has: no Nagle delay,
 * keepalive, urgent data in line, and a reset on close(2) until relay() has
 * seen both ends. A listener hands all of it down to what it accepts.
 */
void sock_set_stream_options(int fd);

/* proxy.c */

/*
 * Hears what the client of a proxy asks for, dials it and answers. What
 * dial() returns; or -1 with errno, the answer given, and tally->end set.
 */
int proxy_handle_client(struct conn *);

/* sandbox.c */

/* Closes every descriptor from fd on; the caller knows none beyond last. */
void fd_close_from(int fd, int last);

/* Closes every descriptor above 2 but the n given ones, and sorts these. */
void fd_close_except(int *keep, size_t n);

/*
 * Nobody but root may look into this process, or take hold of it, whatever
 * user namespace it or a helper that shares its memory joins.
 */
void sandbox_no_ptrace(void);

/*
 * Leaves the server the capabilities that it needs to make mappers and
 * listeners anew, if it has them. -1 with errno.
 */
int sandbox_limit_caps(void);

/*
 * Becomes that user, without groups, capabilities, a way to get any, or core
 * files. Where cred was not given and the system does not let it, or does not
 * know it in this user namespace, the user stays. With network, CAP_NET_ADMIN
 * stays too. -1 with errno.
 */
int sandbox_drop_privileges(const struct cred *, bool network);

/* From now on this process dies with its parent. -1: that is gone. */
int sandbox_die_with_parent(pid_t parent);
/* It becomes the parent of descendants that lose theirs. -1 with errno. */
int sandbox_adopt(void);

/* What a process does; SANDBOX_RELAY alone, or others joined. */
enum sandbox_flag {
	SANDBOX_RELAY = 0, /* relay() between two sockets, and exit */
	SANDBOX_TCP = 1,   /* accept and fork; connections dial and relay */
	SANDBOX_UDP = 2,   /* relay datagrams */
	SANDBOX_NAMES = 4, /* resolve names; UDP associations of a proxy */
	SANDBOX_UNIX = 8,  /* UNIX sockets, and the names of interfaces */
	SANDBOX_MAY_NARROW = 16, /* take the role SANDBOX_RELAY later */
	SANDBOX_BIND = 32,       /* bind(2) before connect(2) */
	SANDBOX_STDIO = 64       /* alone: relay what is no socket */
};

/*
 * Whatever else this process and its children ask of the kernel from now on
 * kills them. -1 with errno: there is no such filter.
 */
int sandbox_seccomp(unsigned role);

/* For a connection with both its sockets: no process, no further descriptor. */
void sandbox_set_rlimits(void);

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

/* True if a line of that kind is written at all. */
bool log_enabled(enum log_level least);

/*
 * Lines get a priority where standard error leads to the journal. With syslog
 * descriptor 2 becomes a socket to it, and until log_leave() lines also go to
 * what it was. -1 with errno.
 */
int log_open(bool syslog);
void log_close_stderr(void);

void log_line(enum log_level least, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));
#define log_error(...) log_line(LOG_QUIET, __VA_ARGS__)
#define log_info(...)  log_line(LOG_NORMAL, __VA_ARGS__)
#define log_debug(...) log_line(LOG_VERBOSE, __VA_ARGS__)

/* What is open, of the table that USR1 asks for. */
void log_open_row(const char *client, const char *target, unsigned long long up,
    unsigned long long down, msec started_at);

/* At most one line a second; says how many were left out. */
void log_ratelimited(const char *fmt, ...)
    __attribute__((format(printf, 1, 2)));

/*
 * The name of an errno, or of an error of getaddrinfo(3), which are negative:
 * "ECONNREFUSED", "EAI_NONAME"; "E123" for one it does not know.
 */
const char *errno_name(int);

/* "10.0.0.1:80", "fd00::1/80", "unix". buf holds SOCKADDR_STRLEN bytes. */
#define SOCKADDR_STRLEN 80
const char *sockaddr_format(const struct sockaddr *, char *buf);

/* The current time of CLOCK_MONOTONIC. */
msec now_ms(void);

#endif
