/* Checks a map against the system and against other maps. */

#ifndef CONFIG_CHECK_H
#define CONFIG_CHECK_H

struct config;
struct map;

/* Returns true if a namespace that exists has this name. */
bool check_is_ns_name(const char *);

/* The others return 0, or -1 with the reason logged. */

/* Refuses a host name that is the name of a namespace, which may be meant. */
int check_host_names(const struct map *);

/* Refuses a map to original in one namespace, unless it has mark=. */
int check_own_redirect(const struct map *);

/*
 * Refuses the last map if it listens on an address of another map. Without this
 * check bind(2) would fail later, and the error would not name the other map.
 */
int check_last_listener(const struct config *);

/* Refuses maps that lead back to themselves through others. */
int check_chains(const struct config *);

/* Refuses "-" beside other maps. */
int check_stdio(const struct config *);

/*
 * Checks that no map has user= with --pin, because the server could not end
 * such mappers. Returns -1, logged.
 */
int check_pin(const struct config *);

/* Refuses a map that listens where --stats does. */
int check_stats(const struct config *);

#endif
