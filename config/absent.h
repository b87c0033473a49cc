/* Says what to do about a namespace that is absent. */

#ifndef CONFIG_ABSENT_H
#define CONFIG_ABSENT_H

struct ns;

#define ABSENT_SIZE 768

/*
 * Writes the names of namespaces that resemble the name of ns, and the advice
 * of habit_advice() or else ns_hint(), into buf, which has ABSENT_SIZE bytes.
 * err is the errno of ns_enter(). Returns buf.
 */
const char *absent_hint(char *buf, const struct ns *, int err);

#endif
