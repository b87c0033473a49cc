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

/* Of one message; 32 addresses and their aliases fit. More of it is cut. */
#define DNS_MESSAGE_SIZE 2048

/* What several questions share; the caller keeps it in place. */
struct dns_ask_params {
	const struct dns_conf *conf;
	uint8_t order[DNS_SERVERS_MAX]; /* in which the servers are asked */
	/*
	 * When each server last did not answer, or 0; NULL: not remembered. In
	 * shared memory it serves all processes of a map.
	 */
	_Atomic msec *silent;
	int epfd;     /* gets each descriptor, level-triggered; or -1 */
	uint64_t tag; /* its epoll_data */
};

enum dns_phase {
	DNS_ASK_DONE,
	DNS_ASK_UDP,
	DNS_ASK_SEND, /* TCP: until it is connected and the question is sent */
	DNS_ASK_RECEIVE
};

struct dns_ask {
	const struct dns_ask_params *params;
	struct dns_name name; /* as it was given, or the alias it has */
	struct dns_question question;
	struct dns_list list; /* counts when phase is DONE */
	int fd;               /* or -1 */
	enum dns_phase phase;
	msec deadline;  /* of the try */
	unsigned round; /* through all servers */
	unsigned turn;  /* of the server in params->order */
	unsigned aliases, foreign;
	uint32_t ttl;      /* the least of the aliases so far */
	bool silent;       /* a server did not answer in this round */
	bool tcp, mixed;   /* mixed: the case of letters is random */
	size_t done, want; /* bytes sent or received, and in all; of TCP */
	unsigned char buf[2 + DNS_MESSAGE_SIZE];
};

/* Asks for the addresses of a type. It may be done at once. */
void dns_ask_start(struct dns_ask *, const struct dns_ask_params *,
    const struct dns_name *, uint16_t type, msec now);

/*
 * Goes on as far as it can without waiting: when its descriptor is ready, and
 * when its deadline has come.
 */
void dns_ask_run(struct dns_ask *, msec now);

/* Closes what is open. Where it is not done, it ends by status and error. */
void dns_ask_stop(struct dns_ask *, enum dns_status, int error);

/* What poll(2) is to wait for, where phase is not DONE. */
short dns_ask_events(const struct dns_ask *);

#endif
