/* Asks the name servers one question: the addresses of a family for a name. */

#ifndef DNS_ASK_H
#define DNS_ASK_H

#include <poll.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/clock.h"
#include "dns/conf.h"
#include "dns/message.h"
#include "dns/result.h"

/* Bytes of a message that are read: 32 addresses with their aliases fit. */
#define DNS_MESSAGE_SIZE 2048

/*
 * Sets options on a new socket to a server that is not on a loopback address.
 * Returns 0, or -1 with errno.
 */
typedef int dns_prepare(int fd, int family, const void *arg);

/* Parameters that several questions share. The caller must not move them. */
struct dns_ask_params {
	const struct dns_conf *conf;
	dns_prepare *prepare; /* of struct dns_source */
	const void *prepare_arg;
	uint8_t order[DNS_SERVERS_MAX]; /* server indexes, in asking order */
	/*
	 * dns_server_mark() of the time when each server last failed to answer,
	 * or 0. NULL: no times are kept. Processes of a map may share it.
	 */
	_Atomic msec *silent;
	int epfd;     /* watches each socket, level-triggered; -1: none */
	uint64_t tag; /* data of the events of epfd */
};

enum dns_phase {
	DNS_ASK_DONE,
	DNS_ASK_UDP,
	DNS_ASK_SEND, /* TCP: connecting, or sending the question */
	DNS_ASK_RECEIVE
};

struct dns_ask {
	const struct dns_ask_params *params;
	struct dns_name name; /* to ask for: the given name, or its alias */
	struct dns_question question;
	struct dns_list list; /* the result, valid if phase is DONE */
	int fd;               /* or -1 */
	enum dns_phase phase;
	msec deadline;  /* when the try ends */
	unsigned round; /* a round asks all servers; from 0 */
	unsigned turn;  /* index in params->order */
	unsigned aliases, foreign;
	uint32_t ttl;      /* the least TTL of the aliases so far */
	bool silent;       /* a server did not answer in this round */
	bool tcp, mixed;   /* mixed: the case of letters is random */
	size_t done, want; /* TCP: bytes transferred so far, and in all */
	unsigned char buf[2 + DNS_MESSAGE_SIZE];
};

/* Asks for the addresses of a type. The phase may be DONE on return. */
void dns_ask_start(struct dns_ask *, const struct dns_ask_params *,
    const struct dns_name *, uint16_t type, msec now);

/*
 * Continues the question as far as possible without waiting. To be called when
 * fd is ready, and when `deadline` has passed.
 */
void dns_ask_run(struct dns_ask *, msec now);

/* Closes the socket. A question that is not DONE ends with status and error. */
void dns_ask_stop(struct dns_ask *, enum dns_status, int error);

/* Returns the server that is asked, or was asked last. */
const struct dns_server *dns_ask_server(const struct dns_ask *);

/* Returns the events to poll(2) fd for, if phase is not DONE. */
short dns_ask_events(const struct dns_ask *);

#endif
