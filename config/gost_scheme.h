/* The schemes and options of GOST, and what nsfwd has in their place. */

#ifndef CONFIG_GOST_SCHEME_H
#define CONFIG_GOST_SCHEME_H

#include "config/gost_url.h"

enum gost_role {
	GOST_PROXY = 1,
	GOST_TARGET = 2,
	GOST_HOP = 4,
	GOST_TARGET_HOP = 8 /* connects to itself, whatever is asked for */
};

/* Why nothing with TLS is taken over. */
extern const char gost_no_tls[];

/* Returns NULL if the scheme of the URL is one of that role; or why not. */
const char *gost_scheme_check(struct gost_url *, enum gost_role);

/*
 * Returns what nsfwd has in the place of an option of GOST, a string constant;
 * NULL if arg begins with no such option.
 */
const char *gost_option_advice(const char *arg);

#endif
