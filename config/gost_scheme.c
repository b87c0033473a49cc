/* The schemes and options of GOST, and what nsfwd has in their place. */

#include <stdbool.h>
#include <stddef.h>
#include <string.h>

#include "config/gost_scheme.h"

#include "base/array.h"

const char gost_no_tls[] = "nsfwd forwards and does not encrypt";
static const char netns_listens[] =
    "a map listens in any namespace: write tcp:// or udp:// and netns";

/* clang-format off */
static const struct {
	const char *name;
	unsigned roles;
	const char *why; /* why nsfwd has no such scheme; or NULL */
} schemes[] = {
	{"", GOST_PROXY | GOST_TARGET | GOST_HOP, NULL},
	{"auto", GOST_PROXY | GOST_TARGET, NULL},
	{"tcp", GOST_TARGET | GOST_TARGET_HOP, NULL},
	{"forward", GOST_TARGET | GOST_TARGET_HOP, NULL},
	{"udp", GOST_TARGET, NULL},
	{"http", GOST_PROXY | GOST_HOP, NULL},
	{"socks", GOST_PROXY | GOST_HOP, NULL},
	{"socks4", GOST_PROXY, NULL},
	{"socks4a", GOST_PROXY, NULL},
	{"socks5", GOST_PROXY | GOST_HOP, NULL},
	{"socks5h", 0, "write socks5, to which names go as they are"},
	{"unix", 0, "write a map: /PATH=HOST:PORT, PORT=/PATH"},
	{"stdio", 0, "write the map -=HOST:PORT"},
	{"rtcp", 0, netns_listens},
	{"rudp", 0, netns_listens},
	{"red", GOST_ORIGINAL, NULL},
	{"redir", GOST_ORIGINAL, NULL},
	{"redirect", GOST_ORIGINAL, NULL},
	{"redu", GOST_ORIGINAL, NULL},
	{"tproxy", 0, "write red:// or redu://"},
	{"https", 0, gost_no_tls}, {"http2", 0, gost_no_tls}, {"http3", 0, gost_no_tls},
	{"tls", 0, gost_no_tls}, {"mtls", 0, gost_no_tls}, {"dtls", 0, gost_no_tls},
	{"otls", 0, gost_no_tls}, {"ws", 0, gost_no_tls}, {"wss", 0, gost_no_tls},
	{"mws", 0, gost_no_tls}, {"mwss", 0, gost_no_tls}, {"h2", 0, gost_no_tls},
	{"h2c", 0, gost_no_tls}, {"h3", 0, gost_no_tls}, {"quic", 0, gost_no_tls},
	{"kcp", 0, gost_no_tls}, {"ssh", 0, gost_no_tls}, {"sshd", 0, gost_no_tls},
	{"ss", 0, gost_no_tls}, {"ssu", 0, gost_no_tls}, {"grpc", 0, gost_no_tls},
	{"relay", 0, gost_no_tls},
};

static const char *const option_advice[][2] = {
	{"-C", "gost2nsfwd FILE writes its maps, for --config"},
	{"-D", "-v logs more"},
	{"-O", "--check prints the maps as understood"},
	{"-R", "a HUP reads the file of --config again"},
	{"-api", "--stats PATH answers, a HUP reads --config again"},
	{"-metrics", "--stats :PORT answers at /metrics"},
};
/* clang-format on */

const char *
gost_option_advice(const char *arg)
{
	bool whole = strncmp(arg, "--", 2) == 0; /* GOST takes either */
	size_t length;

	arg += whole;
	for (size_t i = 0; i < ARRAY_LEN(option_advice); i++) {
		length = strlen(option_advice[i][0]);
		if (strncmp(arg, option_advice[i][0], length) == 0 &&
		    (!whole || strcspn(arg, "=") == length))
			return option_advice[i][1];
	}
	return NULL;
}

/* Returns why nsfwd has no such scheme, or NULL. Looks up B and A of A+B. */
static const char *
why_no_scheme(char *name)
{
	char *plus = strchr(name, '+');
	const char *why = NULL;

	for (size_t i = 0; i < ARRAY_LEN(schemes) && !plus; i++)
		if (strcmp(name, schemes[i].name) == 0)
			return schemes[i].why;
	if (plus) {
		*plus = '\0';
		why = why_no_scheme(plus + 1);
		why = why ? why : why_no_scheme(name);
		*plus = '+';
	}
	return why;
}

bool
gost_is_original(const struct gost_url *u)
{
	return strncmp(u->scheme, "red", 3) == 0;
}

bool
gost_is_udp(const struct gost_url *u)
{
	return strcmp(u->scheme, "udp") == 0 || strcmp(u->scheme, "redu") == 0;
}

/* Returns why a scheme that has `roles` has not this role. */
static const char *
why_no_role(unsigned roles, enum gost_role role)
{
	switch (role) {
	case GOST_TARGET:
		return roles & GOST_ORIGINAL
		    ? "no target is taken: connections go where they went"
		    : "a proxy takes no target: write tcp://LISTEN/TARGET";
	case GOST_PROXY:
		return "no target: write SCHEME://LISTEN/TARGET";
	default:
		return "a hop is http or socks5";
	}
}

const char *
gost_scheme_check(struct gost_url *u, enum gost_role role)
{
	const char *why = why_no_scheme(u->scheme);

	u->bad_part = u->scheme;
	for (size_t i = 0; i < ARRAY_LEN(schemes) && !why; i++) {
		if (strcmp(u->scheme, schemes[i].name) != 0)
			continue;
		if (schemes[i].roles & role)
			return NULL;
		why = why_no_role(schemes[i].roles, role);
	}
	return why ? why
		   : "nsfwd has tcp, udp, red, redu, auto, http, socks4, "
		     "socks4a and socks5";
}
