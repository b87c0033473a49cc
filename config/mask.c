/* Masks passwords in text that is shown. */

/*
 * Theory of operation
 *
 * The text is one or more arguments of a user, right or wrong, with white space
 * between them. It is read as items, separated by ',', '=', '?', '&' and white
 * space. Each byte of these is replaced by '*':
 *
 * - the value of auth= and via-auth=, except USER and a path; the same behind a
 *   name that resembles these or "password". In place of '=' there may be ':' or
 *   white space; in place of the ',' in front any byte, unless in a path;
 * - the value of every other key that neither a map nor GOST has;
 * - PASSWORD of USER:PASSWORD@; behind SCHEME://, all in front of '@' if there
 *   is no ':'. NS@ and pid:N@ stay, because a namespace has ':' only behind its
 *   kind; also behind the scheme of a protocol or a kind, which has no password
 *   without a user;
 * - PASSWORD of USER:PASSWORD behind ADDR:PORT.
 *
 * A password may contain separators. So it ends only in front of a known key,
 * of an argument that begins with '-', or of one that looks like a map; and in
 * front of '@', at a ',' or '=' behind a port.
 */

#include <ctype.h>
#include <stdbool.h>
#include <stddef.h>
#include <string.h>
#include <strings.h>

#include "config/mask.h"

#include "base/array.h"
#include "config/gost_key.h"
#include "config/key.h"
#include "config/secret_name.h"

#define SHOWN_MAX  160
#define WHITE      " \t\r\n\v\f"
#define BLANK      WHITE "\"'"
#define SEPARATORS ",=?&" WHITE
#define DIGITS     "0123456789"
#define NAME_CHARS                                             \
	"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ" \
	"-_." DIGITS

/* Returns the length of c at s, which may be %-encoded; 0 if s has no c. */
static size_t
match_char(const char *s, char c)
{
	char code[4] = {'%', DIGITS[c >> 4], "0123456789abcdef"[c & 15]};

	return *s == c ? 1 : strncasecmp(s, code, 3) == 0 ? 3 : 0;
}

/* Returns the length of a known key with its '='; 0 if there is none. */
static size_t
known_key(const char *s)
{
	size_t length = strspn(s, NAME_CHARS);

	return s[length] == '=' &&
		(key_exists(s, length) || gost_key_exists(s, length))
	    ? length + 1
	    : 0;
}

/* Returns true if the text ends with ":PORTS" or "/PORTS". */
static bool
has_ports(const char *text, const char *end)
{
	const char *s = end;

	while (s > text && strchr(DIGITS "-", s[-1]))
		s--;
	return s < end && s > text && strchr(":/", s[-1]);
}

/*
 * Returns true if the white space is followed by nothing, by an option, or by
 * what may be a map: its LISTEN ends with a port or is a UNIX socket.
 */
static bool
ends_argument(const char *white)
{
	const char *word = white + strspn(white, BLANK);
	const char *end = word + strcspn(word, SEPARATORS);

	if (!*word || *word == '-')
		return true;
	return *end == '=' && end > word &&
	    (*word == '/' || memchr(word, '@', (size_t)(end - word)) ||
		word + strspn(word, DIGITS "-") == end || has_ports(word, end));
}

/* Returns the end of the password at s. A map ends it only if maps is true. */
static char *
secret_end(char *s, bool maps)
{
	for (; *s; s++) {
		if (strchr(",?&", *s) && known_key(s + 1))
			break;
		if (isspace((unsigned char)*s) && ends_argument(s) &&
		    (maps || strchr("-", s[strspn(s, WHITE)])))
			break;
	}
	return s;
}

/* Masks the bytes before end, except white space. Returns end. */
static char *
mask_span(char *s, char *end)
{
	for (; s < end; s++)
		if (!isspace((unsigned char)*s))
			*s = '*';
	return end;
}

/* Returns the last '@' before end, or NULL. */
static char *
last_at(char *s, const char *end)
{
	char *last = NULL;

	for (; s < end; s++)
		if (match_char(s, '@'))
			last = s;
	return last;
}

/* Returns the end of an item. '?' and '&' end it only in front of KEY=. */
static char *
item_end(char *s)
{
	while (*s && !strchr(",=" WHITE, *s) &&
	    !(strchr("?&", *s) && s[1 + strspn(s + 1, NAME_CHARS)] == '='))
		s++;
	return s;
}

/* Masks the value behind a name, except USER, and except a path if allowed. */
static char *
mask_value(char *s, enum secret_value value, bool path)
{
	char *next = s + strspn(s, BLANK), *end, *user;

	if (!strchr("=:", *next) && ends_argument(s))
		return s;
	s = next + (*next == ':' ? 1 : match_char(next, '='));
	s += strspn(s, "=" BLANK);
	user = s + strcspn(s, ":%,?&" WHITE);
	if (value == VALUE_LOGIN && !match_char(user, ':'))
		return s - 1; /* mask_text() reads the value as an item */
	end = secret_end(s, true);
	if (value == VALUE_OTHER || value == VALUE_SECRET)
		return mask_span(s, end);
	if (match_char(user, ':'))
		return mask_span(user + match_char(user, ':'), end);
	return mask_span(path && *s == '/' ? user + 1 : s, end);
}

/*
 * Returns true if the text begins with a known name and ':'. Sets *login if a
 * password without a user may follow the name and "://".
 */
static bool
is_scheme(const char *s, size_t length, bool *login)
{
	static const char *const names[] = {"http", "https", "socks", "socks4",
	    "socks4a", "socks5", "tcp", "udp", "tcp+udp", "pid", "fd", "docker",
	    "podman", "unit", "machine", "systemd", "unix", "netns", "ns",
	    "container"};
	size_t i = 0;

	while (i < ARRAY_LEN(names) &&
	    (strlen(names[i]) != length ||
		strncasecmp(s, names[i], length) != 0))
		i++;
	*login = i == ARRAY_LEN(names) || strncasecmp(s, "http", 4) == 0 ||
	    strncasecmp(s, "socks", 5) == 0;
	return i < ARRAY_LEN(names) && s[length] == ':';
}

/* Returns true if [ADDR]:PORTS= follows, with an address or "localhost". */
static bool
begins_listener(const char *s)
{
	const char *close = *s == '[' ? strchr(s, ']') : NULL;
	size_t host = close ? (size_t)(close - s) + 1 : strspn(s, DIGITS "."),
	       ports;

	if (strncmp(s, "localhost:", 10) == 0)
		host = 9;
	ports = s[host] == ':' ? strspn(s + host + 1, DIGITS "-") : 0;
	return ports && s[host + 1 + ports] == '=';
}

/*
 * Skips schemes, kinds of a namespace, and their ':'. *url is set if the last
 * of them, known or not, is followed by "//", and by neither NS@ nor ADDR:PORT=.
 */
static char *
skip_scheme(char *s, bool *url)
{
	size_t length = strspn(s, NAME_CHARS "+"), host;
	bool login;

	while (is_scheme(s, length, &login) &&
	    strncmp(s + length, "://", 3) != 0) {
		s += length + 1;
		length = strspn(s, NAME_CHARS "+");
	}
	*url = strncmp(s + length, "://", 3) == 0 || strncmp(s, "//", 2) == 0;
	if (!*url)
		return s;
	s = strstr(s, "//") + 2;
	host = strspn(s, NAME_CHARS);
	*url = !begins_listener(s) && (login || !host || s[host] != '@');
	return s;
}

/*
 * Masks a password that ends at the '@' last. If it contains KEY=, the '@' may
 * be a part of the password or of the value; then all up to limit is masked.
 */
static char *
mask_login(char *s, char *last, char *limit)
{
	for (char *name = s, *k = s; k < last; name = ++k) {
		k += strspn(k, NAME_CHARS);
		if (k < last && match_char(k + strspn(k, BLANK), '=') &&
		    ((name > s && strchr(",?&", name[-1])) ||
			secret_value(name, (size_t)(k - name)) != VALUE_OTHER))
			return mask_span(s, limit);
	}
	mask_span(s, last);
	return item_end(last + match_char(last, '@'));
}

/*
 * Masks PASSWORD of USER:PASSWORD behind ADDR:PORT in the item at s, if the
 * byte between them is neither '+' nor a part of a name.
 */
static void
mask_login_behind_port(char *s)
{
	char *end = item_end(s), *port = s;
	bool url;

	if (has_ports(s, end - (end > s && end[-1] == '/')))
		return;
	do {
		s = memchr(port, ':', (size_t)(end - port));
		if (!s)
			return;
		port = s + 1 + strspn(s + 1, DIGITS);
	} while (port == s + 1 ||
	    (!match_char(port, '@') && strchr("+:]%" NAME_CHARS, *port)));
	s = skip_scheme(port + 1, &url);
	s += strcspn(s, ":+" SEPARATORS);
	if (*s == ':')
		mask_span(s + 1, secret_end(s, true));
}

/*
 * Masks the password in the URL whose SCHEME:// was skipped. *clear is how far
 * the text is known to have no '@' that could end a password, so that no part
 * of it is searched for each item anew.
 */
static char *
mask_url(char *s, char **clear)
{
	char *end = s + strcspn(s, "/?#" WHITE), *user, *last;
	bool whole = has_ports(s, end);

	mask_login_behind_port(s);
	if (s >= *clear && !(whole && isspace((unsigned char)*end)))
		end = secret_end(s, whole);
	last = last_at(s, end);
	if (!last) {
		*clear = end > *clear ? end : *clear;
		return item_end(s);
	}
	user = s + strspn(s, NAME_CHARS);
	if (match_char(user, ':') && user < last)
		s = user + match_char(user, ':');
	return mask_login(s, last, end);
}

/* Returns the '@' if s is KIND:NAME@PORTS, else s. */
static char *
skip_ns_of_ports(char *s)
{
	size_t length = strspn(s, NAME_CHARS);
	bool login;
	char *at;

	if (!is_scheme(s, length, &login) || login)
		return s;
	at = s + length + 1;
	at += strspn(at, NAME_CHARS);
	return *at == '@' && isdigit((unsigned char)at[1]) &&
		strchr("+," WHITE, at[1 + strspn(at + 1, DIGITS "-")])
	    ? at
	    : s;
}

/* Returns the first ':' or '@' outside of [ADDR] and a later KIND:NAME. */
static char *
first_mark(char *s, const char *end, bool list)
{
	char *close;

	while (s < end && !match_char(s, '@') && !match_char(s, ':')) {
		close = *s == '[' ? memchr(s, ']', (size_t)(end - s)) : NULL;
		if (close && !last_at(s, close))
			s = close;
		else if (*s++ == '+' && list)
			s = skip_ns_of_ports(s);
	}
	return s;
}

/* Returns the '@' of ADDR:PORT@NS with an IPv4 address, no login; or mark. */
static char *
at_behind_port(char *s, char *mark)
{
	size_t n;

	for (int i = 0; i < 5; i++, s += n + 1) {
		n = strspn(s, DIGITS);
		if (!n || n > 5 || s[n] != "...:@"[i])
			return mark;
	}
	return s - 1;
}

/* How far a password in an endpoint may continue behind a separator. */
enum reach {
	ITEM,     /* not at all */
	ENDPOINT, /* if the item does not end with a port */
	HOP       /* to secret_end(), because no other endpoint follows */
};

/* Masks USER:PASSWORD@ in front of an endpoint such as [NS@]ADDR:PORTS. */
static char *
mask_endpoint(char *s, enum reach reach, char **clear)
{
	char *end, *mark, *limit, *last;
	bool whole;

	mask_login_behind_port(s);
	end = item_end(s);
	while ((mark = first_mark(s, end, reach != HOP)) < end) {
		mark = at_behind_port(s, mark);
		if (match_char(mark, '@')) {
			s = mark + match_char(mark, '@');
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
		end = mask_login(mark + match_char(mark, ':'), last, limit);
		s = last + match_char(last, '@');
	}
	return end;
}

/* Returns true if a value follows a name and blank bytes. */
static bool
has_value(char *behind, enum secret_value value, size_t blank, bool loose)
{
	char *next = behind + blank;
	size_t ports;

	if (match_char(next, '='))
		return true;
	if (*behind == ':') { /* the name of HOST:PORT has no value */
		ports = strspn(behind + 1, DIGITS "-");
		return value != VALUE_LOGIN &&
		    (!ports || behind + 1 + ports != item_end(behind));
	}
	return blank &&
	    (loose || memchr(next, ':', strcspn(next, WHITE)) != NULL);
}

/* Returns true if a target may be at s, and USER:PASSWORD is not. */
static bool
is_target(char *s)
{
	char *end;
	bool url;

	s = skip_scheme(s + strspn(s, BLANK), &url);
	end = item_end(s);
	return !memchr(s, ':', (size_t)(end - s)) || has_ports(s, end);
}

/*
 * Masks the value of a key inside of the item, which has any byte in place of
 * ',' in front of it. A name in [NS@]PATH is no key, unless a value that is no
 * target follows. Returns the end of what it masked, or end.
 */
static char *
mask_inner_value(char *item, char *end, bool url)
{
	char *at = memchr(item, '@', (size_t)(end - item)), *next;
	bool path = strchr("/@", *item) || (at && strchr("/@", at[1]));
	enum secret_value value;

	for (char *s = item, *name; s < end; s++) {
		name = s;
		s += strspn(s, NAME_CHARS);
		value = secret_value(name, (size_t)(s - name));
		next = s + strspn(s, BLANK);
		if (path && name > item && strchr("/@", name[-1]) &&
		    (*next != '=' || is_target(next + 1)))
			continue;
		if (value != VALUE_OTHER &&
		    (url || path
			    ? match_char(next, '=') > 0
			    : has_value(s, value, (size_t)(next - s), false)))
			return mask_value(s, value, false);
	}
	return end;
}

/* Masks the item at s, which follows the byte before. Returns its end. */
static char *
mask_item(char *s, char before, char **clear)
{
	enum reach reach = ENDPOINT;
	size_t length, keyed, blank;
	enum secret_value value;
	bool url;

	for (;; s += keyed, before = '=') {
		s = skip_scheme(s, &url);
		if (url)
			return mask_inner_value(s, mask_url(s, clear), true);
		length = strspn(s, NAME_CHARS);
		keyed = known_key(s);
		value = secret_value(s, length);
		if (!keyed || value != VALUE_OTHER)
			break;
		reach = strncmp(s, "via=", keyed) == 0 ? HOP
		    : strncmp(s, "owner=", keyed) == 0 ? ITEM
						       : ENDPOINT;
	}
	blank = strspn(s + length, BLANK);
	if (value == VALUE_OTHER ? before && s[length + blank] == '=' &&
		    strspn(s, DIGITS "-._") < length
				 : has_value(s + length, value, blank,
				       before == ',' || *s == '-'))
		return mask_value(s + length, value, keyed && before == ',');
	return mask_inner_value(s, mask_endpoint(s, reach, clear), false);
}

void
mask_text(char *text)
{
	char before = '\0', *clear = text;

	for (char *s = text; *(s = mask_item(s, before, &clear)); s++)
		before = (char)(isspace((unsigned char)*s) ? 0 : *s);
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
