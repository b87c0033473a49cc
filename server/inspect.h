/* Checks that the system has what a map names, before the map serves. */

#ifndef SERVER_INSPECT_H
#define SERVER_INSPECT_H

struct config;
struct map;

/*
 * Checks what the targets of a map depend on: src=, dev=, lo of their
 * namespace, and the rights of the user of mappers to UNIX sockets. Logs what
 * is wrong. Returns EXIT_USAGE if a target cannot be reached; with --wait,
 * only if the path of a target is no socket. Otherwise returns 0. The target
 * namespace must exist.
 */
int inspect_targets(const struct map *, const struct config *);

/*
 * With --pin, checks that the user of the server may execute this program, as
 * --stats over TCP needs. Returns 0; or EXIT_USAGE, logged. Logs also, for
 * --syslog and --daemon, that mappers may not write to /dev/log.
 */
int inspect_program(const struct config *);

/*
 * Checks that mappers can become the user of --user. Returns 0; or EXIT_USAGE,
 * logged.
 */
int inspect_user(const struct config *);

/*
 * Looks up the namespace, the address or the directory of --stats. Binds
 * nothing. Returns 0, or the exit status, logged.
 */
int inspect_stats(const struct config *);

/*
 * Looks up the namespaces of a map, and what its listener and targets depend
 * on. Binds no port of it. Returns 0, or the exit status, logged.
 */
int inspect_map(const struct map *, const struct config *);

/*
 * Does the work of --check: all of the above, for all maps, and checks the path
 * of --pidfile. Returns 0, or the exit status, logged.
 */
int inspect_all(const struct config *);

#endif
