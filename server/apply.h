/* Applying a configuration. */

#ifndef SERVER_APPLY_H
#define SERVER_APPLY_H

struct config;
struct services;

/*
 * Replaces the list of services by that of the configuration, whose maps must then
 * stay as long as the list. Returns 0; or the exit status, logged, and all services
 * are as before.
 */
int apply_config(struct services *, const struct config *);

#endif
