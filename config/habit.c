/* Recognizes habits, spellings of other programs, and tells nsfwd's own. */

/*
 * Theory of operation
 *
 * Only a text that was refused is looked up. A row fits if its pattern matches
 * the whole text. In a pattern '#' stands for digits, '~' for bytes of a host
 * name or an address, '^' for the name of a key, and '*' for any bytes or none.
 * Any other byte stands for itself, and so does a byte behind '\'.
 *
 * In the advice, $1 to $9 are the parts that '#', '~', '^' and '*' matched, in
 * that order. $n is the net of a text ADDR/BITS. A row with $n does not fit a
 * text without such a net.
 *
 * A text may have several faults. So a cure that is no map is looked up in
 * turn, and the cure of that replaces it. Without one the row does not fit, so
 * that no message says to write what the next message refuses.
 */

#include <ctype.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include "config/habit.h"

#include "base/addr.h"
#include "base/array.h"
#include "base/text.h"
#include "config/cure.h"
#include "config/key.h"
#include "config/value.h"

#define PARTS_MAX  9
#define FAULTS_MAX 4 /* of a text */

/* A part of the text that a '#', '~', '^' or '*' has matched. */
struct part {
	const char *at;
	size_t length;
};

/* clang-format off */
static const struct habit {
	enum habit_place place;
	const char *pattern, *advice;
} habits[] = {
	{HABIT_MAP, "#:#", "as docker -p has it: write :$1=NS@$2 (or $1=NS@$2, for this host only; a range is $1-$2)"},
	{HABIT_MAP, "#-#:#-#", "as docker -p has it: write :$1-$2=NS@$3-$4"},
	{HABIT_MAP, "~:#:#", "as docker -p has it: write $1:$2=NS@$3"},
	{HABIT_MAP, "~:~:#", "as ssh -L has it: write $1=$2:$3"},
	{HABIT_MAP, "#:~", "the port comes last: write LISTEN=$2:$1"},
	{HABIT_MAP, "*=#:~", "the port comes last: write $1=$3:$2"},
	{HABIT_MAP, "*=#@~", "the port comes last: write $1=$3@$2"},
	{HABIT_MAP, "#@~=*", "the port comes last: write $2@$1=$3"},
	{HABIT_MAP, "*==*", "a map has one '=': write $1=$2"},
	{HABIT_MAP, "*=>*", "LISTEN and TARGET have '=' between them: write $1=$2"},
	{HABIT_MAP, "#,*@*", "LISTEN and TARGET have '=' between them: write $1=$2@$3"},
	{HABIT_MAP, "* -> *", "LISTEN and TARGET have '=' between them: write $1=$2"},
	{HABIT_MAP, "*<->*", "LISTEN and TARGET have '=' between them: write $1=$2"},
	{HABIT_MAP, "*=*,", "nothing stands behind the last ',': write $1=$2"},
	{HABIT_MAP, "*=*;", "nothing stands behind a map: write $1=$2"},
	{HABIT_MAP, "*=* ^=*", "a map is one word: write $1=$2,$3=$4"},
	{HABIT_MAP, "* ~@#", "a map is one word, or two without quotation marks: write $1=$2@$3"},
	{HABIT_MAP, "*=~@:#*", "a namespace stands in front of the port: write $1=$2@$3$4"},
	{HABIT_MAP, "*=~/#", "a port has ':' in front: write $1=$2:$3"},
	{HABIT_MAP, "~:#:~:#", "as ssh -L has it: write $1:$2=$3:$4"},
	{HABIT_MAP, "#/tcp", "a target is missing: write $1=NS@PORT"},
	{HABIT_MAP, "#/udp", "a target is missing: write udp:$1=NS@PORT"},
	{HABIT_MAP, "#:#/tcp", "as docker -p has it: write :$1=NS@$2"},
	{HABIT_MAP, "#:#/udp", "as docker -p has it: write udp::$1=NS@$2"},
	{HABIT_MAP, "TCP-LISTEN:#*=TCP:~:#*", "as socat has it: write :$1=$3:$4"},
	{HABIT_MAP, "TCP4-LISTEN:#*=TCP4:~:#*", "as socat has it: write 0.0.0.0:$1=$3:$4"},
	{HABIT_MAP, "UDP-LISTEN:#*=UDP:~:#*", "as socat has it: write udp::$1=$3:$4"},
	{HABIT_MAP, "TCP-LISTEN:#*", "as socat has it: write :$1=HOST:PORT"},
	{HABIT_MAP, "UDP-LISTEN:#*", "as socat has it: write udp::$1=HOST:PORT"},
	{HABIT_MAP, "UNIX-LISTEN:*", "as socat has it: write /PATH=HOST:PORT"},
	{HABIT_MAP, "TCP:*", "a protocol has small letters: write tcp:$1"},
	{HABIT_MAP, "UDP:*", "a protocol has small letters: write udp:$1"},
	{HABIT_MAP, "tcp://*:#/~:#", "as gost has it: write $1:$2=$3:$4"},
	{HABIT_MAP, "udp://*:#/~:#", "as gost has it: write udp:$1:$2=$3:$4"},
	{HABIT_MAP, "tcp://*", "a protocol stands without '//': write tcp:$1"},
	{HABIT_MAP, "udp://*", "a protocol stands without '//': write udp:$1"},
	{HABIT_MAP, "*docker://*", "a namespace stands without '//': write $1docker:$2"},
	{HABIT_MAP, "*podman://*", "a namespace stands without '//': write $1podman:$2"},
	{HABIT_MAP, "*netns:~:#*", "a namespace is NS@PORT: write $1$2@$3$4"},
	{HABIT_MAP, "*netns://*", "a namespace is NS@PORT: write $1$2"},
	{HABIT_MAP, "*netns:*", "a namespace is NS@PORT: write $1$2"},
	{HABIT_MAP, "*container:*", "the kinds are docker and podman: write $1docker:$2"},
	{HABIT_MAP, "ns:*", "a namespace is NS@PORT: write $1"},
	{HABIT_MAP, "*=ns:*", "a namespace is NS@PORT: write $1=$2"},
	{HABIT_MAP, "socks5://*:#", "as gost has it: write -L socks5://$1:$2, or $2=NS@proxy"},
	{HABIT_MAP, "~://*", "LISTEN has no scheme: write $2"},
	{HABIT_MAP, "*=udp://*", "a protocol stands in front: write udp:$1=$2"},
	{HABIT_MAP, "*=tcp://*", "a protocol stands in front: write $1=$2"},
	{HABIT_MAP, "*=~@tcp:*", "a protocol stands in front: write $1=$2@$3"},
	{HABIT_MAP, "*=~@udp:*", "a protocol stands in front: write udp:$1=$2@$3"},
	{HABIT_MAP, "*=tcp:*", "a protocol stands in front: write $1=$2"},
	{HABIT_MAP, "*=udp:*", "a protocol stands in front: write udp:$1=$2"},
	{HABIT_MAP, "*=TCP:*", "a protocol stands in front: write $1=$2"},
	{HABIT_MAP, "*=UDP:*", "a protocol stands in front: write udp:$1=$2"},
	{HABIT_MAP, "tcp#:*", "the address says whether it is IPv4 or IPv6: write tcp:$2"},
	{HABIT_MAP, "udp#:*", "the address says whether it is IPv4 or IPv6: write udp:$2"},
	{HABIT_MAP, "udp+tcp:*", "write tcp+udp:$1"},
	{HABIT_MAP, "sctp:*", "there are tcp, udp and tcp+udp"},
	{HABIT_MAP, "\\*:#*", "every address is an empty one: write :$1$2"},
	{HABIT_MAP, "tcp:\\*:#*", "every address is an empty one: write :$1$2"},
	{HABIT_MAP, "udp:\\*:#*", "every address is an empty one: write udp::$1$2"},
	{HABIT_MAP, "#:#=*", "a range has '-': write $1-$2=$3"},
	{HABIT_MAP, "*#-#-=*", "a range is FIRST-LAST: write $1$2-$3=$4"},
	{HABIT_MAP, "#,#=#,#", "a map has one port or a range: write two maps, $1=$3 and $2=$4"},
	{HABIT_MAP, "#,#=#,#,*", "a map has one port or a range: write two maps, $1=$3,$5 and $2=$4,$5"},
	{HABIT_MAP, "#,#=~@#,#", "a map has one port or a range: write two maps, $1=$3@$4 and $2=$3@$5"},
	{HABIT_MAP, "#,#=~@#,#,*", "a map has one port or a range: write two maps, $1=$3@$4,$6 and $2=$3@$5,$6"},
	{HABIT_MAP, "#,#,*=*", "a map has one port or a range: write a map for each port"},
	{HABIT_MAP, "#,#", "a map has one port or a range: write two maps, $1=NS@PORT and $2=NS@PORT"},
	{HABIT_MAP, "#..#", "a range has '-', and a target is missing: write $1-$2=NS@$1-$2"},
	{HABIT_MAP, "*#..#*", "a range has '-': write $1$2-$3$4"},
	{HABIT_MAP, "#,#=*", "a map has one port or a range: write two maps, $1=$3 and $2=$3"},
	{HABIT_MAP, "*=~@socks5", "one proxy speaks SOCKS and HTTP: write $1=$2@proxy"},
	{HABIT_MAP, "*=~@socks", "one proxy speaks SOCKS and HTTP: write $1=$2@proxy"},
	{HABIT_MAP, "*=~@http", "a port is a number: write $1=$2@80 (or $1=$2@proxy, for a proxy)"},
	{HABIT_MAP, "*=http://~/", "a target has no scheme, but a port: write $1=$2:80"},
	{HABIT_MAP, "*=https://~/", "a target has no scheme, but a port: write $1=$2:443"},
	{HABIT_MAP, "*=http://~", "a target has no scheme, but a port: write $1=$2:80"},
	{HABIT_MAP, "*=https://~", "a target has no scheme, but a port: write $1=$2:443"},
	{HABIT_MAP, "*=~://*@#/*", "a target has no scheme and no path: write $1=NS@$4"},
	{HABIT_MAP, "*=~://*@#*", "a target has no scheme: write $1=NS@$4$5"},
	{HABIT_MAP, "*=~://*@~:#/*", "a target has no scheme and no path: write $1=$4:$5"},
	{HABIT_MAP, "*=~://*@~:#*", "a target has no scheme: write $1=$4:$5$6"},
	{HABIT_MAP, "*=~://*/", "a target has no scheme and no path: write $1=$3"},
	{HABIT_MAP, "*=~://*:#/*", "a target has no scheme and no path: write $1=$3:$4"},
	{HABIT_MAP, "*=~://*", "a target has no scheme: write $1=$3"},
	{HABIT_MAP, "*=docker:~:#*", "a namespace ends with '@': write $1=docker:$2@$3$4"},
	{HABIT_MAP, "*=podman:~:#*", "a namespace ends with '@': write $1=podman:$2@$3$4"},
	{HABIT_MAP, "*=docker:~", "a port is missing: write $1=docker:$2@PORT"},
	{HABIT_MAP, "*=podman:~", "a port is missing: write $1=podman:$2@PORT"},
	{HABIT_MAP, "#->#=*", "a map has no '->': write LISTEN=TARGET"},
	{HABIT_MAP, "*->*", "LISTEN and TARGET have '=' between them: write $1=$2"},
	{HABIT_MAP, "*;^=*", "keys have ',' between them: write $1,$2=$3"},
	{HABIT_MAP, "~.conf", "a file of maps is an option: write -c $1.conf"},
	{HABIT_MAP, "#=socks5", "one proxy speaks SOCKS and HTTP: write $1=proxy"},
	{HABIT_MAP, "#=http", "one proxy speaks SOCKS and HTTP: write $1=proxy"},
	{HABIT_MAP, "*,rate=*", "nsfwd limits no rate: tc(8) and nft(8) do"},
	{HABIT_MAP, "*,limit=*", "max= limits connections; tc(8) and nft(8) limit rates"},
	{HABIT_MAP, "*,max-conns=*", "max= limits this map; --max-conns N limits all maps together"},
	{HABIT_MAP, "*,timeout=*", "there are idle-timeout=, connect-timeout= and more (man nsfwd, KEYS)"},
	{HABIT_MAP, "*,backup=*", "a backup is one more target: write LISTEN=TARGET,TARGET"},
	{HABIT_MAP, "udp:*,proto=*", "a protocol stands in front alone: write udp:$1, or tcp:$1"},
	{HABIT_MAP, "tcp:*,proto=*", "a protocol stands in front alone: write udp:$1, or tcp:$1"},
	{HABIT_MAP, "*,proto=*", "a protocol stands in front: write udp:$1, or tcp:$1"},
	{HABIT_MAP, "udp:*,udp", "udp stands in front alone: write udp:$1"},
	{HABIT_MAP, "tcp:*,udp", "a protocol stands in front alone: write udp:$1, or tcp+udp:$1"},
	{HABIT_MAP, "udp:*,tcp", "a protocol stands in front alone: write udp:$1, or tcp+udp:$1"},
	{HABIT_MAP, "*,udp", "udp stands in front: write udp:$1"},
	{HABIT_MAP, "*,tcp", "tcp is what a map is: write $1"},
	{HABIT_MAP, "*,log=*", "the log is for all maps: -v, -q, --syslog"},
	{HABIT_MAP, "*,allow=*,allow=*", "several have '+' between them: write $1,allow=$2+$3"},
	{HABIT_MAP, "*,deny=*,deny=*", "several have '+' between them: write $1,deny=$2+$3"},
	{HABIT_MAP, "*,allow=~,~*", "several have '+' between them: write $1,allow=$2+$3$4"},
	{HABIT_MAP, "*,deny=~,~*", "several have '+' between them: write $1,deny=$2+$3$4"},
	{HABIT_MAP, "*,reach=~,~*", "several have '+' between them: write $1,reach=$2+$3$4"},
	{HABIT_MAP, "*,accept-proxy=~,~*", "several have '+' between them: write $1,accept-proxy=$2+$3$4"},
	{HABIT_MAP, "^=", "a key is part of its map: write LISTEN=TARGET,$1=VALUE"},
	{HABIT_MAP, "^=*", "a key is part of its map: write LISTEN=TARGET,$1=$2, without a space"},
	{HABIT_MAP, "help", "write nsfwd --help, or man nsfwd"},
	{HABIT_MAP, "start", "maps start it: nsfwd LISTEN=TARGET; a service: systemctl start nsfwd"},
	{HABIT_MAP, "stop", "a signal stops it: kill PID; a service: systemctl stop nsfwd"},
	{HABIT_MAP, "restart", "a service: systemctl restart nsfwd"},
	{HABIT_MAP, "reload", "a signal reloads the file: kill -HUP PID; a service: systemctl reload nsfwd"},
	{HABIT_MAP, "status", "write nsfwd --status; a service: systemctl status nsfwd"},
	{HABIT_MAP, "list", "write nsfwd --status"},
	{HABIT_MAP, "show", "write nsfwd --status"},
	{HABIT_MAP, "version", "write nsfwd --version"},
	{HABIT_WORDS, "TCP-LISTEN:#* TCP:~:#*", "as socat has it: write :$1=$3:$4"},
	{HABIT_WORDS, "TCP4-LISTEN:#* TCP4:~:#*", "as socat has it: write 0.0.0.0:$1=$3:$4"},
	{HABIT_WORDS, "UDP-LISTEN:#* UDP:~:#*", "as socat has it: write udp::$1=$3:$4"},
	{HABIT_WORDS, "TCP#-LISTEN:#* TCP#:*", "as socat has it: write :$2=$5"},
	{HABIT_WORDS, "UDP#-LISTEN:#* UDP#:*", "as socat has it: write udp::$2=$5"},
	{HABIT_WORDS, "TCP-LISTEN:#* UNIX-CONNECT:~*", "as socat has it: write :$1=$3"},
	{HABIT_WORDS, "UNIX-LISTEN:~* TCP:~:#*", "as socat has it: write $1=$3:$4"},
	{HABIT_WORDS, "STDIO TCP:~:#*", "as socat has it: write -=$1:$2"},
	{HABIT_WORDS, "~ # ~ #", "as rinetd has it: write $1:$2=$3:$4"},
	{HABIT_WORDS, "# ~ #", "an address is one word with its port: write $1=$2:$3"},
	{HABIT_WORDS, "~ #", "an address is one word with its port: write LISTEN=$1:$2"},
	{HABIT_WORDS, "port-forward ~ #:#", "as kubectl has it: write $2=NS@$3"},
	{HABIT_WORDS, "*listenport=#*", "as netsh has it: write $2=HOST:PORT"},
	{HABIT_OPTION, "-p #:#/udp*", "as docker has it: write udp::$1=NS@$2, without -p"},
	{HABIT_OPTION, "-p #:#*", "as docker has it: write :$1=NS@$2, without -p"},
	{HABIT_OPTION, "-p ~:#:#*", "as docker has it: write $1:$2=NS@$3, without -p"},
	{HABIT_OPTION, "-p ~:~", "as docker has it: write :$1=NS@$2, without -p"},
	{HABIT_OPTION, "-p *", "a map has no -p: write LISTEN=TARGET"},
	{HABIT_OPTION, "--publish*", "a map has no option: write LISTEN=TARGET"},
	{HABIT_OPTION, "-u*", "udp stands in front of the map: write udp:LISTEN=TARGET"},
	{HABIT_OPTION, "--udp*", "udp stands in front of the map: write udp:LISTEN=TARGET"},
	{HABIT_OPTION, "--tcp*", "tcp is what a map is: write LISTEN=TARGET"},
	{HABIT_OPTION, "-W ~:#*", "as ssh has it: write -=NS@[$1]:$2"},
	{HABIT_OPTION, "-W *", "as ssh has it: write -=NS@[HOST]:PORT"},
	{HABIT_OPTION, "-f *", "a file of maps is read by -c FILE"},
	{HABIT_OPTION, "-R #:*", "a map listens in any namespace: write NS@PORT=HOST:PORT"},
	{HABIT_OPTION, "-D #", "as ssh has it: write $1=NS@proxy"},
	{HABIT_OPTION, "-D ~:#", "as ssh has it: write $1:$2=NS@proxy"},
	{HABIT_OPTION, "-l*", "what to listen on is part of a map: write LISTEN=TARGET"},
	{HABIT_OPTION, "-n*", "a namespace is part of a map: write PORT=NS@PORT"},
	{HABIT_OPTION, "--netns*", "a namespace is part of a map: write PORT=NS@PORT"},
	{HABIT_OPTION, "--help-*", "write nsfwd --help"},
	{HABIT_OPTION, "--^", "a key is part of its map: write LISTEN=TARGET,$1=VALUE"},
	{HABIT_OPTION, "--^=* *", "a key is part of its map: write LISTEN=TARGET,$1=$2"},
	{HABIT_OPTION, "--^=*", "a key is part of its map: write LISTEN=TARGET,$1=$2"},
	{HABIT_OPTION, "--^ -*", "a key is part of its map: write LISTEN=TARGET,$1=VALUE"},
	{HABIT_OPTION, "--^ *=*", "a key is part of its map: write LISTEN=TARGET,$1=VALUE"},
	{HABIT_OPTION, "--^ *", "a key is part of its map: write LISTEN=TARGET,$1=$2"},
	{HABIT_GOST, "~:~:#", "as ssh has it: write $1=$2:$3, without -L"},
	{HABIT_GOST, "\\*:#:~:#", "as ssh has it: write :$1=$2:$3, without -L"},
	{HABIT_GOST, "~:#:~:#", "as ssh has it: write $1:$2=$3:$4, without -L"},
	{HABIT_ITEM, "*/#", "it has bits set behind /$2: write $n for the net, or $1 for the address"},
	{HABIT_NS, "#", "a number is a name here; a process is pid:$1"},
	{HABIT_NS, "/proc/#", "a process is pid:$1"},
	{HABIT_NS, "/proc/#/ns", "a process is pid:$1"},
	{HABIT_NS, "/proc/#/", "a process is pid:$1"},
	{HABIT_NS, "localhost", "the namespace that nsfwd was started in is self"},
	{HABIT_NS, "host", "the namespace that nsfwd was started in is self, that of process 1 is init"},
	{HABIT_NS, "default", "the namespace that nsfwd was started in is self"},
};
/* clang-format on */

static bool
in_class(char class, char c)
{
	unsigned char byte = (unsigned char)c;

	if (class == '#')
		return isdigit(byte);
	return isalnum(byte) || (c && strchr("._-[]/+%", c)) ||
	    (class == '~' && byte >= 0x80);
}

static bool
part_fits(char class, const struct part *p)
{
	return class != '^' || key_exists(p->at, p->length);
}

/*
 * Returns true if the pattern matches all of the text, and fills in the parts.
 * Each part takes as many bytes as it can with the rest still matching.
 */
static bool
matches(const char *pattern, const char *text, struct part *parts)
{
	const char class = *pattern;
	size_t n;

	if (!class)
		return !*text;
	if (class == '\\')
		return pattern[1] == *text &&
		    matches(pattern + 2, text + 1, parts);
	if (!strchr("#~^*", class))
		return class == *text && matches(pattern + 1, text + 1, parts);
	for (n = 0; text[n] && (class == '*' || in_class(class, text[n])); n++)
		;
	for (;; n--) {
		*parts = (struct part){text, n};
		if ((n || class == '*') && part_fits(class, parts) &&
		    matches(pattern + 1, text + n, parts + 1))
			return true;
		if (n == 0)
			return false;
	}
}

/* Writes the net of ADDR/BITS. Returns its length, or 0 if there is none. */
static size_t
print_net(char *buf, size_t size, const char *item)
{
	struct cidr net;
	char text[64];
	FILE *out;

	snprintf(text, sizeof(text), "%s", item);
	if (strlen(item) >= sizeof(text) || !cidr_parse_net(&net, text))
		return 0;
	out = fmemopen(buf, size, "w");
	if (!out)
		return 0;
	cidr_print(out, &net);
	fclose(out);
	return strlen(buf);
}

/* Writes the advice with its parts. Returns false without room, or a net. */
static bool
expand(char *buf, const char *advice, const struct part *parts)
{
	char net[64];
	size_t used = 0;

	for (const char *s = advice; *s; s++) {
		struct part p = {s, 1};

		if (*s == '$' && s[1] == 'n') {
			p.length = print_net(net, sizeof(net), parts->at);
			p.at = net;
			if (!p.length)
				return false;
			s++;
		} else if (*s == '$')
			p = parts[*++s - '1'];
		if (used + p.length >= HABIT_SIZE)
			return false;
		memcpy(buf + used, p.at, p.length);
		used += p.length;
	}
	buf[used] = '\0';
	return true;
}

static bool find_habit(char *buf, enum habit_place, const char *text, int left);

/*
 * Makes a cure that is no map one, by up to `left` more rows. Returns false if
 * it stays wrong.
 */
static bool
correct_cure(char *advice, int left)
{
	char next[HABIT_SIZE], *cure = strstr(advice, CURE_START), *better;
	bool single = cure && !strchr(cure + strlen(CURE_START), ' ');

	if (cure_has_maps(advice) && (!single || strchr(cure, '=')))
		return true;
	if (!single ||
	    (!find_habit(next, HABIT_MAP, cure + strlen(CURE_START), left) &&
		!cure_single(next, cure + strlen(CURE_START))))
		return false;
	better = strstr(next, CURE_START);
	if (!better || (size_t)(cure - advice) + strlen(better) >= HABIT_SIZE)
		return false;
	stpcpy(cure, better);
	return true;
}

/* Writes the advice of the first row that fits. Returns false without one. */
static bool
find_habit(char *buf, enum habit_place place, const char *text, int left)
{
	struct part parts[PARTS_MAX];

	for (size_t i = 0; i < PARTS_MAX; i++)
		parts[i] = (struct part){"", 0};
	for (size_t i = 0; i < ARRAY_LEN(habits) && left; i++)
		if (habits[i].place == place &&
		    matches(habits[i].pattern, text, parts) &&
		    expand(buf, habits[i].advice, parts) &&
		    correct_cure(buf, left - 1))
			return true;
	return false;
}

const char *
habit_advice(char *buf, enum habit_place place, const char *text, size_t length)
{
	char whole[HABIT_SIZE];

	if (length >= sizeof(whole))
		return NULL;
	snprintf(whole, sizeof(whole), "%.*s", (int)length, text);
	return find_habit(buf, place, whole, FAULTS_MAX) ? buf : NULL;
}

const char *
habit_single(char *buf, const char *text, size_t length)
{
	static const char listen[] = "LISTEN=";
	char map[HABIT_SIZE];
	const char *single = map + strlen(listen);

	if (length + sizeof(listen) > sizeof(map))
		return NULL;
	snprintf(map, sizeof(map), "%s%.*s", listen, (int)length, text);
	return cure_single(buf, single) ||
		(!strchr(single, '=') &&
		    find_habit(buf, HABIT_MAP, map, FAULTS_MAX))
	    ? buf
	    : NULL;
}
