/* Addresses that services of a new configuration take over from old ones. */

#ifndef SERVER_TAKEOVER_H
#define SERVER_TAKEOVER_H

#include <stdbool.h>

struct config;
struct service;
struct services;

/*
 * Returns true if an old service without a successor may listen on the address of
 * a new service.
 */
bool takeover_is_blocked(const struct services *old, const struct service *);

/*
 * Opens the new services that are blocked, after it has closed the old listeners
 * in their way. Returns -1, logged; then the caller rolls back and calls
 * takeover_undo().
 */
int takeover_open(const struct services *fresh, const struct services *old);

/* Opens the old listeners again that takeover_open() has closed. */
void takeover_undo(const struct services *old, const struct config *);

#endif
