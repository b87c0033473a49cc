/* The schemes and options of GOST, and what nsfwd has in place of them. */

#ifndef CONFIG_GOST_SCHEME_H
#define CONFIG_GOST_SCHEME_H

#include <stdbool.h>

#include "config/gost_url.h"

enum gost_role {
	GOST_PROXY = 1,
	GOST_TARGET = 2,
	GOST_HOP = 4,
	GOST_TARGET_HOP = 8, /* an -F that is the target itself, not a proxy */
	GOST_ORIGINAL = 16   /* takes redirected connections */
};

/* Why the schemes and keys of encrypted protocols are refused. */
extern const char gost_no_tls[];

/* Returns NULL if the scheme of the URL can have the role; or why not. */
const char *gost_scheme_check(struct gost_url *, enum gost_role);

/* Returns true if the scheme takes what nft or iptables redirects. */
bool gost_is_original(const struct gost_url *);

/* Returns true if the scheme is one of UDP. */
bool gost_is_udp(const struct gost_url *);

/*
 * Returns what nsfwd has in place of the option of GOST that begins arg, a
 * string constant; or NULL if arg begins with none.
 */
const char *gost_option_advice(const char *arg);

#endif
