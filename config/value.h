/* Parses and prints the values of options and keys. */

#ifndef CONFIG_VALUE_H
#define CONFIG_VALUE_H

#include <stdint.h>
#include <stdio.h>

#include "base/clock.h"

struct cidr;
struct cred;

/*
 * Each parse function returns NULL; or why the text is wrong, a string
 * constant.
 */

/* Parses a whole number from min, which is 0 or 1, to a million. */
const char *parse_count(const char *text, uint32_t min, uint32_t *count);

/* Parses a number of workers, up to WORKERS_MAX. */
const char *parse_workers(const char *text, uint32_t *count);

/*
 * Parses a number, with at most three decimals, and a unit: ms, s, m, h or d.
 * No unit means s.
 */
const char *parse_duration(const char *text, msec *timeout);

/* Writes a duration in the largest unit that divides it. */
void duration_print(FILE *, msec);

/* Parses ADDR or ADDR/BITS. Modifies text. */
const char *cidr_parse(struct cidr *, char *text);
/*
 * Fills in the net of a text such as 10.0.0.1/8, which cidr_parse() refuses
 * because bits behind /BITS are set. Returns false for any other text.
 */
bool cidr_parse_net(struct cidr *, char *text);

void cidr_print(FILE *, const struct cidr *);

/*
 * Parses USER or USER:GROUP, each a name to be looked up or a number, and sets
 * cred->explicit. USER alone also means the group of that user.
 */
const char *parse_cred(struct cred *, const char *text);

/*
 * Copies the parts of "USER:PASSWORD", which the caller frees; the password
 * is a secret. One of
 * '*' only is refused, because --check prints one in place of every password.
 */
const char *parse_user_password(const char *text, char **user, char **password);

#endif
