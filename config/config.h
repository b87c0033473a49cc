/* The whole configuration: reads the maps and what they name. */

#ifndef CONFIG_CONFIG_H
#define CONFIG_CONFIG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/clock.h"
#include "base/sandbox.h"
#include "config/map.h"
#include "config/mask.h"

struct config {
	struct map *maps; /* owned */
	size_t n_maps;
	struct map defaults;    /* of the fields that a map does not set */
	uint32_t max_conns;     /* over all maps */
	msec drain_timeout;     /* of connections that drain */
	int ready_fd;           /* gets a line when all maps serve; -1: none */
	struct cred owner_cred; /* of mappers of maps without user= */
	const char *own_user;   /* its name by default; NULL: --user set it */
	int no_sandbox;         /* without system call filters */
	int pin;                /* the server drops all privileges, too */
	int wait_for_ns;        /* and for listen addresses, until they exist */
	int daemonize;
	int syslog;                  /* instead of standard error */
	const char *pidfile, *stats; /* paths, or NULL */

	/* Where the maps come from: */
	const char *file; /* --config, or NULL */
	char **args;      /* arguments that are no options */
	int n_args;
	struct masked_text command_line; /* that args point into; owned */
	char *gost_listen;  /* -L: a line for each map, without hops; owned */
	char *gost_forward; /* -F: the hops of each of these maps; owned */
	bool has_files;     /* --config or auth= named one */
	bool reloading;     /* only regular files are read */
};

/* The defaults of a map without any option. */
extern const struct map config_builtin;

/* Sets the built-in defaults. */
void config_init(struct config *);

/* Frees all that the configuration owns. */
void config_free(struct config *);
void config_free_maps(struct config *);

/*
 * Reads all maps and the files that they name, and checks them. Returns 0, or
 * -1 with the reason logged; the maps read so far stay in either case.
 */
int config_read(struct config *);

/*
 * Reads the maps again from where those of conf came from. Returns 0, and
 * *fresh shares all but its maps with conf; or -1 with the reason logged, and
 * *fresh is undefined.
 */
int config_reread(const struct config *conf, struct config *fresh);

#endif
