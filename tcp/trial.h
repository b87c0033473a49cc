/* Dials each target of all maps once, for --test. */

#ifndef TCP_TRIAL_H
#define TCP_TRIAL_H

struct config;

/*
 * Dials each target as its map would, relays no bytes, and prints a line for
 * each target on standard output. Returns the exit status: 0 if all could be
 * reached.
 */
int trial_run(const struct config *);

#endif
