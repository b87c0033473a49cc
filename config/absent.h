/* Says what to do about a namespace that is absent. */

#ifndef CONFIG_ABSENT_H
#define CONFIG_ABSENT_H

struct ns;

#define ABSENT_SIZE 768

/*
 * Writes the names of namespaces that resemble that of ns, and the advice of
 * ns_hint() or habit_advice(), into buf, which has ABSENT_SIZE bytes. Returns
 * buf.
 */
const char *absent_hint(char *buf, const struct ns *, int err);

#endif
