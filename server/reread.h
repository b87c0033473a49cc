/* Reads the configuration again, for a reload. */

#ifndef SERVER_REREAD_H
#define SERVER_REREAD_H

#include <stdbool.h>

struct config;
struct readers;
struct services;

/* The maps, sockets and options of the server during a reload. */
struct running {
	const struct config *conf; /* in force */
	const struct services *services;
	const struct readers *readers;
	bool pinned; /* --pin has given up privileges, which a start has */
};

/*
 * Does as config_reread(). Fails, too, if the next start would fail with its
 * options. Allows --stats on an address of this server, because the address is
 * free by then.
 */
int reread_config(const struct running *, struct config *fresh);

#endif
