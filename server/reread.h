/* Reads the configuration again, for a reload. */

#ifndef SERVER_REREAD_H
#define SERVER_REREAD_H

#include <stdbool.h>

struct config;
struct readers;
struct services;

/* What runs while the files are read again. */
struct running {
	const struct config *conf; /* in force */
	const struct services *services;
	const struct readers *readers;
	bool pinned; /* --pin has given up privileges, which a start has */
};

/*
 * Does as config_reread(). Refuses also options of the next start with which
 * that would fail. An address that this server holds passes, because it is free
 * then.
 */
int reread_config(const struct running *, struct config *fresh);

#endif
