/* The whole configuration. */

#ifndef CONFIG_CONFIG_H
#define CONFIG_CONFIG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/clock.h"
#include "base/sandbox.h"

struct map;

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

/* A text that holds words, and the same after mask_text(). */
struct shown {
	char *text, *shown;
};

/*
 * Adds maps: those of a file; of words, found at where, which is "" or ends in
 * ": "; of lines that gost_translate() made, each with forward behind it. 0,
 * or -1 and the reason is logged.
 */
int config_add_file(struct config *, const struct map *defaults,
    const char *file);
int config_add_args(struct config *, const struct map *defaults,
    const char *where, char *const *word, int words, const struct shown *);
int config_add_gost(struct config *, const struct map *defaults,
    const char *listen, const char *forward);

/* Refuses maps that lead into each other: 0, or -1 with the reason logged. */
int config_check(const struct config *);

/* Looks up USER or USER:GROUP. NULL, or why it cannot, a string constant. */
const char *parse_cred(struct cred *, const char *value);

#endif
