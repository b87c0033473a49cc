/* The nft rules that redirect what maps to original take. */

#ifndef CONFIG_RULES_H
#define CONFIG_RULES_H

#include <stdbool.h>
#include <stdio.h>

struct config;

/*
 * Returns 0 if rules can be printed: every map is one to original, and all
 * listen in one namespace. Returns -1 with the reason logged.
 */
int rules_check(const struct config *);

/*
 * Writes a script for sh(1) that sets up routes and rules in that namespace: of
 * UDP, and with `tproxy` of TCP, by TPROXY, else by REDIRECT. The script can be
 * run again.
 */
void rules_print(FILE *, const struct config *, bool tproxy);

#endif
