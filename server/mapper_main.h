/* The main function of a mapper. */

#ifndef SERVER_MAPPER_MAIN_H
#define SERVER_MAPPER_MAIN_H

#include <stddef.h>

struct config;
struct scoreboard;
struct service;

/*
 * Runs a mapper, in the process that the server has forked for it: enters the
 * target namespace, drops privileges, replies 0 or an errno through the channel,
 * serves, and exits. The errno is ECANCELED if the reason has been logged.
 */
_Noreturn void mapper_main(const struct service *, const struct config *,
    struct scoreboard *, size_t slot, int channel);

#endif
