/*
 * Hides passwords in a text that is shown.
 *
 * Theory of operation. The text is a word of a user, or several with white
 * space between them, right or wrong. It is read as items, which ',', '=', '?',
 * '&' and white space part. Hidden is, as '*' for each byte,
 *
 * - the value of auth= and via-auth=, but for USER and a path; the same behind
 *   a name that resembles these or a password, with ':' or white space for '=';
 * - the value of every other key that no map and no word of GOST has;
 * - PASSWORD of USER:PASSWORD@, and of SCHEME://, where it may be all in front
 *   of '@'. A namespace has no ':' but behind its kind, so NS@ and pid:N@ stay.
 *
 * A password may hold what parts items. So it ends only where a key that is
 * known begins, a word that begins with '-', or one that looks like a map; and,
 * before '@', at a ',' or '=' behind a port.
 */

#include <ctype.h>
#include <stdbool.h>
#include <stddef.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

#include "base/array.h"
#include "config/gost.h"
#include "config/key.h"
#include "config/mask.h"

#define SHOWN_MAX 160
#define WHITE     " \t\r\n\v\f"
#define PARTS     ",=?&" WHITE
#define DIGITS    "0123456789"
#define NAME                                                   \
	"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ" \
	"-_." DIGITS

/* What a name says of the value behind it. */
enum value {
	OTHER,  /* nothing, if it is the name of a key */
	LOGIN,  /* it is USER or USER:PASSWORD */
	AUTH,   /* USER:PASSWORD or PASSWORD */
	SECRET, /* PASSWORD */
};

static bool
is_white(char c)
{
	return c && strchr(WHITE, c);
}

/* The length of a ':' or '@', which may be written as in a URL; 0: none. */
static size_t
colon(const char *s)
{
	return *s == ':' ? 1 : strncasecmp(s, "%3a", 3) == 0 ? 3 : 0;
}

static size_t
at_sign(const char *s)
{
	return *s == '@' ? 1 : strncmp(s, "%40", 3) == 0 ? 3 : 0;
}

/* True if one byte more, less or other, or two swapped, make a into b. */
static bool
resembles(const char *a, size_t length, const char *b)
{
	size_t other = strlen(b), i = 0;

	while (i < length && i < other && tolower((unsigned char)a[i]) == b[i])
		i++;
	while (length > i && other > i &&
	    tolower((unsigned char)a[length - 1]) == b[other - 1])
		length--, other--;
	length -= i;
	other -= i;
	return (length <= 1 && other <= 1) ||
	    (length == 2 && other == 2 &&
		tolower((unsigned char)a[i]) == b[i + 1] &&
		tolower((unsigned char)a[i + 1]) == b[i]);
}

static bool
holds(const char *name, size_t length, const char *part)
{
	size_t n = strlen(part);

	for (size_t i = 0; i + n <= length; i++)
		if (strncasecmp(name + i, part, n) == 0)
			return true;
	return false;
}

/* True if one of its words, between what is no letter, resembles the other. */
static bool
has_word(const char *name, size_t length, const char *other)
{
	size_t n;

	for (size_t i = 0; i < length; i += n + 1) {
		for (n = 0;
		     i + n < length && isalpha((unsigned char)name[i + n]);)
			n++;
		if (n > 2 && resembles(name + i, n, other))
			return true;
	}
	return false;
}

static enum value
meaning(const char *name, size_t length)
{
	static const struct {
		const char *word;
		enum value value;
	} words[] = {{"password", SECRET}, {"passwd", SECRET}, {"pass", SECRET},
	    {"pwd", SECRET}, {"secret", SECRET}, {"token", SECRET},
	    {"key", SECRET}, {"auth", AUTH}, {"cred", AUTH}, {"user", LOGIN},
	    {"login", LOGIN}};

	for (size_t i = 0; i < ARRAY_LEN(words); i++)
		if (holds(name, length, words[i].word))
			return words[i].value;
	for (size_t i = 0; i < ARRAY_LEN(words); i++)
		if (strlen(words[i].word) > 3 && words[i].value != LOGIN &&
		    has_word(name, length, words[i].word))
			return words[i].value;
	return OTHER;
}

/* The length of the name of a key that is known, with its '='; 0: none. */
static size_t
known(const char *s)
{
	size_t length = strspn(s, NAME);

	return s[length] == '=' &&
		(key_exists(s, length) || gost_key_exists(s, length))
	    ? length + 1
	    : 0;
}

/*
 * True if nothing stands behind white space, or an option, or what may be a map:
 * LISTEN has a port in the end, or is the name of a UNIX socket.
 */
static bool
is_new_word(const char *white)
{
	const char *word = white + strspn(white, WHITE);
	const char *end = word + strcspn(word, PARTS), *port = end;

	if (!*word || *word == '-')
		return true;
	while (port > word && strchr(DIGITS "-", port[-1]))
		port--;
	return *end == '=' && end > word &&
	    (strchr("/@", *word) || memchr(word, '@', (size_t)(end - word)) ||
		(port < end && (port == word || strchr(":/", port[-1]))));
}

/* The end of a secret that begins there; maps: one may stand behind it. */
static char *
secret_end(char *s, bool maps)
{
	for (; *s; s++) {
		if (strchr(",?&", *s) && known(s + 1))
			break;
		if (is_white(*s) && is_new_word(s) &&
		    (maps || strchr("-", s[strspn(s, WHITE)])))
			break;
	}
	return s;
}

/* Hides what stands between; returns the end. */
static char *
hide(char *from, char *end)
{
	for (; from < end; from++)
		if (!is_white(*from))
			*from = '*';
	return end;
}

/* The last '@' before the end, or NULL. */
static char *
last_at(char *from, char *end)
{
	char *last = NULL;

	for (; from < end; from++)
		if (at_sign(from))
			last = from;
	return last;
}

/* The end of an item: '?' and '&' may be in one. */
static char *
item_end(char *s)
{
	while (*s && !strchr(",=" WHITE, *s) &&
	    !(strchr("?&", *s) && s[1 + strspn(s + 1, NAME)] == '='))
		s++;
	return s;
}

/* Behind a name: USER stays, and, where it may be one, the path of a file. */
static char *
hide_value(char *s, enum value value, bool path)
{
	char *next = s + strspn(s, WHITE), *end, *user;

	if (!strchr("=:", *next) && is_new_word(s))
		return s;
	s = next + (*next == ':');
	s += strspn(s, "=" WHITE);
	user = s + strcspn(s, ":%,?&" WHITE);
	if (value == LOGIN && !colon(user))
		return s - 1; /* what stands behind is an item */
	end = secret_end(s, true);
	if (value == OTHER || value == SECRET)
		return hide(s, end);
	if (user < end && colon(user))
		return hide(user + colon(user), end);
	return hide(path && *s == '/' ? user + 1 : s, end);
}

/* True if it ends with ":PORTS" or "/PORTS", behind something. */
static bool
has_ports(const char *from, const char *end)
{
	const char *s = end;

	while (s > from && strchr(DIGITS "-", s[-1]))
		s--;
	return s < end && s > from && strchr(":/", s[-1]);
}

/*
 * Returns what stands behind schemes, or kinds of a namespace, and their ':'.
 * *url: the last of them, known or not, has a "//" as well.
 */
static char *
skip_scheme(char *s, bool *url)
{
	static const char *const names[] = {"tcp", "udp", "tcp+udp", "http",
	    "https", "socks", "socks4", "socks4a", "socks5", "pid", "fd",
	    "docker", "podman", "systemd", "unix"};
	size_t length = strspn(s, NAME "+"), i = 0;

	while (i < ARRAY_LEN(names) && s[length] == ':' &&
	    strncmp(s + length, "://", 3) != 0) {
		if (strlen(names[i]) != length ||
		    strncmp(s, names[i], length) != 0) {
			i++;
			continue;
		}
		s += length + 1;
		length = strspn(s, NAME "+");
		i = 0;
	}
	*url = strncmp(s + length, "://", 3) == 0 || strncmp(s, "//", 2) == 0;
	return *url ? strstr(s, "//") + 2 : s;
}

/*
 * Hides a password up to an '@', or up to the limit, if what looks like a key
 * stands in it: then one of the two is the password's.
 */
static char *
hide_login(char *s, char *last, char *limit)
{
	for (char *k = s; k < last; k++)
		if (strchr(",?&", *k) && k[1 + strspn(k + 1, NAME)] == '=')
			return hide(s, limit);
	hide(s, last);
	return item_end(last + at_sign(last));
}

/*
 * Behind SCHEME://. White space ends it where no password can go on. *clear: up
 * to there no '@' is left that could end one.
 */
static char *
hide_url(char *s, char **clear)
{
	char *end = s + strcspn(s, "/?#" WHITE), *user, *last;
	bool whole = has_ports(s, end);

	if (s >= *clear && !(whole && is_white(*end)))
		end = secret_end(s, whole);
	last = last_at(s, end);
	if (!last) {
		*clear = end > *clear ? end : *clear;
		return item_end(s);
	}
	user = s + strspn(s, NAME);
	if (colon(user) && user < last)
		s = user + colon(user);
	return hide_login(s, last, end);
}

/* The first ':' or '@' that is not of an address in brackets. */
static char *
first_mark(char *s, char *end)
{
	char *close;

	while (s < end && !at_sign(s) && !colon(s)) {
		close = *s == '[' ? memchr(s, ']', (size_t)(end - s)) : NULL;
		s = close && !last_at(s, close) ? close : s + 1;
	}
	return s;
}

/* How far a place may go on behind what parts items. */
enum reach {
	ITEM,     /* it does not */
	ENDPOINT, /* if there is no port in the end */
	HOP       /* as far as can be: no other place follows */
};

/* [NS@]ADDR:PORTS and the like. */
static char *
hide_endpoint(char *s, enum reach reach, char **clear)
{
	char *end = item_end(s), *mark, *limit, *last;
	bool whole;

	while ((mark = first_mark(s, end)) < end) {
		if (at_sign(mark)) {
			s = mark + at_sign(mark);
			continue;
		}
		whole = mark == s || has_ports(s, end);
		limit = end;
		if (mark >= *clear && (reach == HOP || (reach && !whole)))
			limit = secret_end(mark, whole);
		last = last_at(mark, limit);
		if (!last) {
			*clear = limit > *clear ? limit : *clear;
			break;
		}
		end = hide_login(mark + colon(mark), last, limit);
		s = last + at_sign(last);
	}
	return end;
}

/* True if the name that ends there is a host and has a port. */
static bool
is_host(char *colon_behind)
{
	char *s = colon_behind + 1, *end = s + strspn(s, DIGITS "-");

	return *colon_behind == ':' && end > s && end == item_end(s);
}

/* True if a value stands behind a name, with that many blanks between. */
static bool
has_value(char *behind, enum value value, size_t blank, bool loose)
{
	char *next = behind + blank;

	if (*next == '=')
		return true;
	if (*behind == ':')
		return value != LOGIN && !is_host(behind);
	return blank &&
	    (loose || memchr(next, ':', strcspn(next, WHITE)) != NULL);
}

/* The item that begins there, behind that byte. Returns its end. */
static char *
hide_item(char *s, char before, char **clear)
{
	enum reach reach = ENDPOINT;
	size_t length, keyed, blank;
	enum value value;
	bool url;

	for (;; s += keyed, before = '=') {
		s = skip_scheme(s, &url);
		if (url)
			return hide_url(s, clear);
		length = strspn(s, NAME);
		keyed = known(s);
		value = meaning(s, length);
		if (!keyed || value != OTHER)
			break;
		reach = strncmp(s, "via=", keyed) == 0 ? HOP
		    : strncmp(s, "owner=", keyed) == 0 ? ITEM
						       : ENDPOINT;
	}
	blank = strspn(s + length, WHITE);
	if (value == OTHER ? before && s[length + blank] == '=' &&
		    strspn(s, DIGITS "-._") < length
			   : has_value(s + length, value, blank,
				 before == ',' || *s == '-'))
		return hide_value(s + length, value, keyed && before == ',');
	return hide_endpoint(s, reach, clear);
}

void
mask_text(char *text)
{
	char before = '\0', *clear = text;

	for (char *s = text; *(s = hide_item(s, before, &clear)); s++)
		before = is_white(*s) ? '\0' : *s;
}

char *
mask_copy(const char *text)
{
	char *copy = strdup(text);

	if (copy)
		mask_text(copy);
	return copy;
}

const char *
masked_part(const struct masked_text *t, const char *part)
{
	return t->masked + (part - t->text);
}

int
shown_length(const char *text)
{
	return (int)strnlen(text, SHOWN_MAX);
}
