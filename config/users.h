/* The users that a map names: user=, owner= and auth=. */

#ifndef CONFIG_USERS_H
#define CONFIG_USERS_H

struct config;
struct map;

/*
 * Looks up the users that the map and its hops name, and reads users and
 * passwords from the files that auth= names; sets conf->has_files if there is
 * one. Returns 0; or -1 after a message with the origin of the map.
 */
int users_read(struct config *conf, struct map *map);

/* Chooses the user of mappers, unless --user has named one. */
void users_set_default(struct config *conf);

#endif
