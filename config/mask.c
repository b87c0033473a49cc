/* Masks passwords in text that is shown. */

/*
 * Theory of operation
 *
 * The text is one or more arguments of a user, right or wrong, with white space
 * between them. It is read as items, separated by ',', '=', '?', '&' and white
 * space. Each byte of these is replaced by '*':
 *
 * - the value of auth= and via-auth=, except USER and a path; the same behind a
 *   name that resembles these or "password", also with ':' or white space in
 *   place of '=';
 * - the value of every other key that neither a map nor GOST has;
 * - PASSWORD of USER:PASSWORD@; behind SCHEME://, all in front of '@' if there
 *   is no ':'. NS@ and pid:N@ stay, because a namespace has ':' only behind its
 *   kind.
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

#define SHOWN_MAX  160
#define WHITE      " \t\r\n\v\f"
#define SEPARATORS ",=?&" WHITE
#define DIGITS     "0123456789"
#define NAME_CHARS                                             \
	"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ" \
	"-_." DIGITS

/* The content of a value, as far as the name in front tells. */
enum value {
	OTHER,  /* unknown: masked, unless the name is a known key */
	LOGIN,  /* USER or USER:PASSWORD */
	AUTH,   /* USER:PASSWORD or PASSWORD */
	SECRET, /* PASSWORD */
};

static bool
is_white(char c)
{
	return c && strchr(WHITE, c);
}

/* Returns the length of a ':', which may be %-encoded; 0 if there is none. */
static size_t
colon(const char *s)
{
	return *s == ':' ? 1 : strncasecmp(s, "%3a", 3) == 0 ? 3 : 0;
}

/* Returns the length of an '@', which may be %-encoded; 0 if there is none. */
static size_t
at_sign(const char *s)
{
	return *s == '@' ? 1 : strncmp(s, "%40", 3) == 0 ? 3 : 0;
}

/*
 * Returns true if a is b with one byte more, less or changed, or two swapped.
 */
static bool
resembles(const char *a, size_t length, const char *b)
{
	size_t length_b = strlen(b), i = 0;

	while (
	    i < length && i < length_b && tolower((unsigned char)a[i]) == b[i])
		i++;
	while (length > i && length_b > i &&
	    tolower((unsigned char)a[length - 1]) == b[length_b - 1])
		length--, length_b--;
	length -= i;
	length_b -= i;
	return (length <= 1 && length_b <= 1) ||
	    (length == 2 && length_b == 2 &&
		tolower((unsigned char)a[i]) == b[i + 1] &&
		tolower((unsigned char)a[i + 1]) == b[i]);
}

/* Returns true if the name contains part, in any case of letters. */
static bool
name_contains(const char *name, size_t length, const char *part)
{
	size_t n = strlen(part);

	for (size_t i = 0; i + n <= length; i++)
		if (strncasecmp(name + i, part, n) == 0)
			return true;
	return false;
}

/* Returns true if a run of letters in the name resembles word. */
static bool
has_similar_word(const char *name, size_t length, const char *word)
{
	size_t n;

	for (size_t i = 0; i < length; i += n + 1) {
		for (n = 0;
		     i + n < length && isalpha((unsigned char)name[i + n]);)
			n++;
		if (n > 2 && resembles(name + i, n, word))
			return true;
	}
	return false;
}

/* Returns the content of the value behind a name. */
static enum value
value_kind(const char *name, size_t length)
{
	static const struct {
		const char *word;
		enum value value;
	} words[] = {{"password", SECRET}, {"passwd", SECRET}, {"pass", SECRET},
	    {"pwd", SECRET}, {"secret", SECRET}, {"token", SECRET},
	    {"key", SECRET}, {"auth", AUTH}, {"cred", AUTH}, {"user", LOGIN},
	    {"login", LOGIN}};

	for (size_t i = 0; i < ARRAY_LEN(words); i++)
		if (name_contains(name, length, words[i].word))
			return words[i].value;
	for (size_t i = 0; i < ARRAY_LEN(words); i++)
		if (strlen(words[i].word) > 3 && words[i].value != LOGIN &&
		    has_similar_word(name, length, words[i].word))
			return words[i].value;
	return OTHER;
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

/*
 * Returns true if the white space is followed by nothing, by an option, or by
 * what may be a map: its LISTEN ends with a port or is a UNIX socket.
 */
static bool
ends_argument(const char *white)
{
	const char *word = white + strspn(white, WHITE);
	const char *end = word + strcspn(word, SEPARATORS), *port = end;

	if (!*word || *word == '-')
		return true;
	while (port > word && strchr(DIGITS "-", port[-1]))
		port--;
	return *end == '=' && end > word &&
	    (strchr("/@", *word) || memchr(word, '@', (size_t)(end - word)) ||
		(port < end && (port == word || strchr(":/", port[-1]))));
}

/* Returns the end of the password at s. A map ends it only if maps is true. */
static char *
secret_end(char *s, bool maps)
{
	for (; *s; s++) {
		if (strchr(",?&", *s) && known_key(s + 1))
			break;
		if (is_white(*s) && ends_argument(s) &&
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
		if (!is_white(*s))
			*s = '*';
	return end;
}

/* Returns the last '@' before end, or NULL. */
static char *
last_at(char *s, const char *end)
{
	char *last = NULL;

	for (; s < end; s++)
		if (at_sign(s))
			last = s;
	return last;
}

/* Returns true if KEY= follows whose value may be a password. */
static bool
secret_follows(const char *s)
{
	size_t length = strspn(s, NAME_CHARS);

	return s[length] == '=' &&
	    (known_key(s) || value_kind(s, length) != OTHER);
}

/*
 * Returns the end of an item. '?' and '&' end it only in front of KEY=; ';',
 * which is no separator, in front of a key that a ',' was meant for.
 */
static char *
item_end(char *s)
{
	while (*s && !strchr(",=" WHITE, *s) &&
	    !(*s == ';' && secret_follows(s + 1)) &&
	    !(strchr("?&", *s) && s[1 + strspn(s + 1, NAME_CHARS)] == '='))
		s++;
	return s;
}

/* Masks the value behind a name, except USER, and except a path if allowed. */
static char *
mask_value(char *s, enum value value, bool path)
{
	char *next = s + strspn(s, WHITE), *end, *user;

	if (!strchr("=:", *next) && ends_argument(s))
		return s;
	s = next + (*next == ':');
	s += strspn(s, "=" WHITE);
	user = s + strcspn(s, ":%,?&" WHITE);
	if (value == LOGIN && !colon(user))
		return s - 1; /* the value is read as an item */
	end = secret_end(s, true);
	if (value == OTHER || value == SECRET)
		return mask_span(s, end);
	if (user < end && colon(user))
		return mask_span(user + colon(user), end);
	return mask_span(path && *s == '/' ? user + 1 : s, end);
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
 * Skips schemes, kinds of a namespace, and their ':'. *url is set if the last
 * of them, known or not, is followed by "//".
 */
static char *
skip_scheme(char *s, bool *url)
{
	static const char *const names[] = {"tcp", "udp", "tcp+udp", "http",
	    "https", "socks", "socks4", "socks4a", "socks5", "pid", "fd",
	    "docker", "podman", "unit", "machine", "systemd", "unix"};
	size_t length = strspn(s, NAME_CHARS "+"), i = 0;

	while (i < ARRAY_LEN(names) && s[length] == ':' &&
	    strncmp(s + length, "://", 3) != 0) {
		if (strlen(names[i]) != length ||
		    strncmp(s, names[i], length) != 0) {
			i++;
			continue;
		}
		s += length + 1;
		length = strspn(s, NAME_CHARS "+");
		i = 0;
	}
	*url = strncmp(s + length, "://", 3) == 0 || strncmp(s, "//", 2) == 0;
	return *url ? strstr(s, "//") + 2 : s;
}

/*
 * Masks a password that ends at the '@' last. If it contains KEY=, the '@' may
 * be a part of the password or of the value; then all up to limit is masked.
 */
static char *
mask_login(char *s, char *last, char *limit)
{
	for (char *k = s; k < last; k++)
		if (strchr(",?&", *k) &&
		    k[1 + strspn(k + 1, NAME_CHARS)] == '=')
			return mask_span(s, limit);
	mask_span(s, last);
	return item_end(last + at_sign(last));
}

/*
 * Masks the password in the URL whose SCHEME:// was skipped. *clear is how far
 * the text is known to have no '@' that could end a password.
 */
static char *
mask_url(char *s, char **clear)
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
	user = s + strspn(s, NAME_CHARS);
	if (colon(user) && user < last)
		s = user + colon(user);
	return mask_login(s, last, end);
}

/* Returns the '@' if s is KIND:NAME@PORTS, else s. */
static char *
skip_ns_of_ports(char *s)
{
	static const char *const kinds[] = {"docker:", "podman:", "unit:",
	    "machine:", "pid:", "fd:"};
	char *at = s;

	for (size_t i = 0; at == s && i < ARRAY_LEN(kinds); i++)
		if (strncmp(s, kinds[i], strlen(kinds[i])) == 0)
			at += strlen(kinds[i]);
	at += at > s ? strspn(at, NAME_CHARS) : 0;
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

	while (s < end && !at_sign(s) && !colon(s)) {
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
	char *end = item_end(s), *mark, *limit, *last;
	bool whole;

	while ((mark = first_mark(s, end, reach != HOP)) < end) {
		mark = at_behind_port(s, mark);
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
		end = mask_login(mark + colon(mark), last, limit);
		s = last + at_sign(last);
	}
	return end;
}

/* Returns true if ":PORT" follows, so that the name in front is a host. */
static bool
is_host(char *behind)
{
	char *s = behind + 1, *end = s + strspn(s, DIGITS "-");

	return *behind == ':' && end > s && end == item_end(s);
}

/* Returns true if a value follows a name and blank bytes of white space. */
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

/* Masks the item at s, which follows the byte before. Returns its end. */
static char *
mask_item(char *s, char before, char **clear)
{
	enum reach reach = ENDPOINT;
	size_t length, keyed, blank;
	enum value value;
	bool url;

	for (;; s += keyed, before = '=') {
		s = skip_scheme(s, &url);
		if (url)
			return mask_url(s, clear);
		length = strspn(s, NAME_CHARS);
		keyed = known_key(s);
		value = value_kind(s, length);
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
		return mask_value(s + length, value, keyed && before == ',');
	return mask_endpoint(s, reach, clear);
}

void
mask_text(char *text)
{
	char before = '\0', *clear = text;

	for (char *s = text; *(s = mask_item(s, before, &clear)); s++) {
		before = *s;
		if (is_white(before))
			before = '\0';
	}
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
