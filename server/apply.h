/* Applying a configuration. */

#ifndef SERVER_APPLY_H
#define SERVER_APPLY_H

struct config;
struct services;

/*
 * Makes services of the configuration, and them the list, taking over what it
 * can; its maps are then those of conf. 0; or the exit status, with the reason
 * logged, and everything is as it was.
 */
int apply_config(struct services *list, const struct config *);

#endif
