/* Declarations that the files of the benchmark's load share. */

#ifndef LOAD_H
#define LOAD_H

#include <netinet/in.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
	ECHO = 64,
	CHUNK = 128 * 1024, /* of bulk: its last byte says if it is the last */
	EVENTS = 64,
};

/* The first byte of a connection: the service that it requests. */
enum {
	ASK_ECHO = 'e',
	ASK_HTTP = 'G', /* a GET, which the server answers with ECHO bytes */
	ASK_UP = 1,     /* flags: bulk, for a span of ms in the next 4 bytes */
	ASK_DOWN = 2,
	ASK_SIZE = 5
};

/* A connection: of bulk, at either end, or one that the server echoes. */
struct stream {
	int fd;
	bool echo, http;
	bool sending, receiving;   /* chunks are still to come */
	bool confirming, awaiting; /* the byte that confirms is to come */
	bool last;                 /* the chunk being sent is the last */
	size_t sent, received;     /* of the chunks at hand */
	unsigned char ask[ASK_SIZE];
	size_t asked;
	int64_t until;
	uint64_t bytes;
	uint32_t events; /* that epoll watches for */
};

/* The counters of the server's UDP socket; a query returns and clears them. */
struct count {
	uint64_t delivered, first, last, altered;
};

/* The server's address. */
extern struct sockaddr_in address;

/* Where received bytes go, and what a message is sent from. */
extern unsigned char data[CHUNK];

/* Prints why a call failed, and exits with status 1. */
_Noreturn void die(const char *what);

/* Returns CLOCK_MONOTONIC in nanoseconds. */
int64_t ns(void);

/* Returns zeroed memory for count objects. Exits on an error. */
void *zeroed(size_t count, size_t size);

/* Returns a socket, connected to address or bound to it. Exits on an error. */
int open_socket(int type, bool connected);

/* Watches for what the stream waits for. Exits on an error. */
void watch(int epoll, struct stream *s);

/* Sends and receives bulk. Returns true when both directions are confirmed. */
bool advance(int epoll, struct stream *s);

/* The spans that were measured, in nanoseconds. */
extern size_t samples;

/* Records the span since then, a value of ns(). */
void take(int64_t from);

void sort_samples(void);

/* Returns the quantile at part/1000. The samples are sorted. */
uint32_t quantile(size_t part);

/* The request of a client of crr(), and the number of bytes it waits for. */
struct exchange {
	const void *send;
	size_t length;
	bool head;   /* a head of HTTP comes first */
	size_t want; /* bytes then */
	bool repeat; /* again, as long as the connection stays open */
};

/* Returns the exchanges of a client of a proxy, as the head of load.c has it */
const struct exchange *proxy_exchange(const char *way, int port);

/*
 * Connects, makes the exchanges and closes, again and again; NULL: the echo
 * alone. Prints the figures.
 */
void crr(const struct exchange *all, int clients, uint32_t ms);

/* Serves connections and datagrams; never returns. */
_Noreturn void serve(void);

#endif
