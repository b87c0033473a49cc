/* The whole configuration: reads the maps and the files that they name. */

#ifndef CONFIG_CONFIG_H
#define CONFIG_CONFIG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/clock.h"
#include "base/sandbox.h"
#include "config/map.h"
#include "config/mask.h"

struct options;

struct config {
	struct map *maps; /* owned */
	size_t n_maps;
	struct map defaults;    /* of the fields that a map does not set */
	uint32_t max_conns;     /* over all maps */
	msec drain_timeout;     /* of connections that drain */
	struct cred owner_cred; /* of mappers of maps without user= */
	const char *own_user;   /* its name by default; NULL: --user set it */
	int ready_fd;           /* gets a line when ready; -1: none */
	int no_sandbox;         /* without system call filters */
	int pin;                /* the server drops all privileges, too */
	int wait_for_ns;        /* for absent namespaces and listen addresses */
	int daemonize;
	int syslog;            /* instead of standard error */
	char *pidfile, *stats; /* paths, or NULL; owned */

	/* Where the maps come from: */
	const char **files; /* --config: files and directories; owned */
	size_t n_files;
	uint64_t options_hash; /* of the options in the files */
	uint64_t options_seen; /* those of the command line, a bit each */
	char **args;           /* arguments that are no options */
	int n_args;
	struct masked_text command_line; /* that args point into; owned */
	char *gost_maps; /* -L and -F: a line for each map; secret; owned; or
			    NULL */
	bool has_files;  /* --config or auth= named a file */
	bool reloading;  /* only regular files are read */
};

/* The defaults of a map without any option. */
extern const struct map config_builtin;

/* Sets the built-in defaults. */
void config_init(struct config *);

/*
 * Returns the arguments of the command line, which point into its text, with n
 * free places in front and a NULL at the end; or NULL without memory. The
 * caller frees the array.
 */
char **config_split_args(const struct config *, size_t n);

/* Frees all that the configuration owns. */
void config_free(struct config *);
void config_free_maps(struct config *);

/*
 * Reads all maps and the files that they name, and checks them; and sets in
 * *options the options that stand in files. Returns 0, or -1 with each wrong
 * line logged; the maps read so far stay in either case.
 */
int config_read(struct config *, struct options *);

/*
 * Reads the command line and the files of conf again, as a start does, into
 * *next, which options_free_again() releases in any case. Returns 0, and *fresh
 * has the new maps and shares all else with conf, so that the options in force
 * stay; or -1 with the reason logged, and *fresh is undefined.
 *
 * Logs a change of an option in a file: then *next has the maps with the
 * options of the next start. Without a change *next has no maps.
 */
int config_reread(const struct config *conf, struct config *fresh,
    struct options *next);

#endif
