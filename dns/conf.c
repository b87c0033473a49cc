/* Reads the words of resolv.conf(5), of hosts(5), and of dns=. */

#include <arpa/inet.h>
#include <string.h>

#include "dns/conf.h"

#define DIGITS "0123456789"

/* Reads a decimal number; a number over `most` counts as `most`. */
static bool
conf_number(const char *text, size_t length, unsigned most, unsigned *value)
{
	unsigned n = 0;

	if (length == 0)
		return false;
	for (size_t i = 0; i < length; i++) {
		if (text[i] < '0' || text[i] > '9')
			return false;
		n = n * 10 + (unsigned)(text[i] - '0');
		n = n < most ? n : most;
	}
	*value = n;
	return true;
}

/*
 * Reads the zone, which a link-local address needs. Digits are the index of an
 * interface. A name is kept, because an interface may get another index.
 */
static bool
parse_zone(struct dns_server *s, const char *zone)
{
	size_t length = zone ? strlen(zone) : 0;
	unsigned index;

	if (!IN6_IS_ADDR_LINKLOCAL(&s->addr.six.sin6_addr))
		return !zone;
	if (length == 0 || length >= sizeof(s->zone) || strchr(zone, '/'))
		return false;
	for (size_t i = 0; i < length; i++)
		if (zone[i] <= ' ' || zone[i] >= 127)
			return false;
	if (conf_number(zone, length, UINT16_MAX, &index) && index)
		s->addr.six.sin6_scope_id = index;
	else
		memcpy(s->zone, zone, length + 1);
	return true;
}

/* Reads ADDR or ADDR%ZONE. Changes the text. */
static bool
parse_server(struct dns_server *s, char *text, unsigned port)
{
	char *zone = strchr(text, '%');

	memset(s, 0, sizeof(*s));
	if (inet_pton(AF_INET, text, &s->addr.four.sin_addr) == 1) {
		s->addr.four.sin_family = AF_INET;
		s->addr.four.sin_port = htons((uint16_t)port);
		return true;
	}
	if (zone)
		*zone++ = '\0';
	if (inet_pton(AF_INET6, text, &s->addr.six.sin6_addr) != 1)
		return false;
	s->addr.six.sin6_family = AF_INET6;
	s->addr.six.sin6_port = htons((uint16_t)port);
	return parse_zone(s, zone);
}

static void
add_server(struct dns_conf *conf, const char *word)
{
	struct dns_servers *all = &conf->servers;
	struct dns_server server;
	char text[DNS_WORD_SIZE];

	memcpy(text, word, strlen(word) + 1);
	if (!parse_server(&server, text, DNS_PORT))
		conf->bad_servers++;
	else if (all->count < DNS_SERVERS_MAX)
		all->server[all->count++] = server;
}

/* Adds a domain of the search list, unless it is invalid, like ".". */
static void
add_domain(struct dns_conf *conf, const char *word)
{
	size_t length = strlen(word);

	if (length && word[length - 1] == '.')
		length--;
	if (dns_name_check(word) != DNS_NAME_OK ||
	    conf->domains == DNS_DOMAINS_MAX ||
	    conf->search_used + length + 1 > sizeof(conf->search))
		return;
	memcpy(conf->search + conf->search_used, word, length);
	conf->search[conf->search_used + length] = '\0';
	conf->search_used += length + 1;
	conf->domains++;
}

static void
forget_domains(struct dns_conf *conf)
{
	conf->domains = 0;
	conf->search_used = 0;
}

static void
set_flag(struct dns_conf *conf, const char *word)
{
	if (strcmp(word, "rotate") == 0)
		conf->rotate = true;
	else if (strcmp(word, "use-vc") == 0)
		conf->use_tcp = true;
	else if (strcmp(word, "no-aaaa") == 0)
		conf->no_aaaa = true;
}

static void
conf_option(struct dns_conf *conf, const char *word)
{
	const char *colon = strchr(word, ':');
	size_t name = colon ? (size_t)(colon - word) : 0;
	unsigned value;

	if (!colon) {
		set_flag(conf, word);
		return;
	}
	if (!conf_number(colon + 1, strlen(colon + 1), 1000, &value))
		return;
	if (name == 5 && memcmp(word, "ndots", 5) == 0)
		conf->ndots = value < DNS_NDOTS_MAX ? value : DNS_NDOTS_MAX;
	else if (name == 7 && memcmp(word, "timeout", 7) == 0 && value)
		conf->timeout = 1000 *
		    (msec)(value < DNS_TIMEOUT_MAX ? value : DNS_TIMEOUT_MAX);
	else if (name == 8 && memcmp(word, "attempts", 8) == 0 && value)
		conf->attempts =
		    value < DNS_ATTEMPTS_MAX ? value : DNS_ATTEMPTS_MAX;
}

static void
conf_word(void *arg, unsigned index, const char *word)
{
	struct dns_conf_reader *r = arg;
	const char *key = r->keyword;

	if (index == 0) {
		r->keyword[0] = '\0';
		if (strlen(word) < sizeof(r->keyword))
			memcpy(r->keyword, word, strlen(word) + 1);
		/* A search or domain line replaces the ones before it. */
		if (strcmp(key, "search") == 0 || strcmp(key, "domain") == 0)
			forget_domains(r->conf);
	} else if (strcmp(key, "nameserver") == 0 && index == 1) {
		add_server(r->conf, word);
	} else if (strcmp(key, "search") == 0 ||
	    (strcmp(key, "domain") == 0 && index == 1)) {
		add_domain(r->conf, word);
	} else if (strcmp(key, "options") == 0) {
		conf_option(r->conf, word);
	}
}

void
dns_conf_begin(struct dns_conf_reader *r, struct dns_conf *conf)
{
	memset(conf, 0, sizeof(*conf));
	conf->ndots = 1;
	conf->attempts = DNS_ROUNDS;
	memset(r, 0, sizeof(*r));
	r->conf = conf;
	r->lexer.word = conf_word;
	r->lexer.arg = r;
	r->lexer.comment = "#;";
}

void
dns_conf_end(struct dns_conf_reader *r)
{
	char local[] = "127.0.0.1";

	dns_lexer_end(&r->lexer);
	if (r->conf->servers.count == 0)
		add_server(r->conf, local);
}

msec
dns_server_mark(const struct dns_server *s, msec at)
{
	const unsigned char *bytes = (const unsigned char *)&s->addr;
	uint32_t hash = 2166136261U;

	for (size_t i = 0; i < sizeof(s->addr); i++)
		hash = (hash ^ bytes[i]) * 16777619U;
	return at * 65536 + (hash >> 16);
}

const char *
dns_conf_domain(const struct dns_conf *conf, unsigned n)
{
	const char *domain = conf->search;

	while (n--)
		domain += strlen(domain) + 1;
	return domain;
}

/* Compares without regard to case, or to a dot at the end of `word`. */
static bool
same_host(const char *word, const char *name)
{
	char text[DNS_WORD_SIZE];
	size_t length = strlen(word);

	if (length && word[length - 1] == '.')
		length--;
	memcpy(text, word, length);
	text[length] = '\0';
	return dns_text_equal(text, name);
}

static void
hosts_word(void *arg, unsigned index, const char *word)
{
	struct dns_hosts_reader *r = arg;
	bool six;

	if (index == 0) {
		r->family = 0;
		if (inet_pton(AF_INET, word, r->addr) == 1)
			r->family = AF_INET;
		else if (inet_pton(AF_INET6, word, r->addr) == 1)
			r->family = AF_INET6;
		return;
	}
	if (!r->family || !same_host(word, r->name))
		return;
	six = r->family == AF_INET6;
	dns_list_add(&r->result->list[six ? DNS_SIX : DNS_FOUR], r->addr,
	    six ? 16 : 4);
	r->family = 0;
}

void
dns_hosts_begin(struct dns_hosts_reader *r, const char *name,
    struct dns_result *result)
{
	memset(r, 0, sizeof(*r));
	r->name = name;
	r->result = result;
	r->lexer.word = hosts_word;
	r->lexer.arg = r;
	r->lexer.indented = r->lexer.anywhere = true;
	r->lexer.comment = "#";
}

/* Reads one item of dns=. Cuts the port off the text. */
static const char *
parse_item(struct dns_server *s, char *text)
{
	char *port = strchr(text, '/'), *colon = strchr(text, ':');
	unsigned number = DNS_PORT;

	if (!port && colon && !strchr(colon + 1, ':') && strchr(text, '.'))
		port = colon;
	if (port) {
		*port++ = '\0';
		if (*port == '0' ||
		    !conf_number(port, strlen(port), UINT16_MAX + 1, &number) ||
		    number > UINT16_MAX)
			return "not a port: 1 to 65535";
	}
	if (parse_server(s, text, number))
		return NULL;
	return strchr(text, ':')
	    ? "not the address of a name server: fd00::53, fd00::53/5353, or "
	      "fe80::1%eth0 for a link-local one"
	    : "not the address of a name server: 10.0.0.53, 10.0.0.53:5353, "
	      "fd00::53";
}

const char *
dns_servers_parse(struct dns_servers *all, const char *text, const char **part)
{
	char item[DNS_SERVER_TEXT];
	const char *why;
	size_t length;

	all->count = 0;
	do {
		*part = text;
		length = strcspn(text, "+");
		if (length == 0 || length >= sizeof(item))
			return "an address of a name server is missing: "
			       "dns=10.0.0.53+10.0.0.54";
		if (all->count == DNS_SERVERS_MAX)
			return "more than 8 name servers";
		memcpy(item, text, length);
		item[length] = '\0';
		why = parse_item(&all->server[all->count], item);
		if (why)
			return why;
		all->count++;
		text += length;
	} while (*text++ == '+');
	return NULL;
}
