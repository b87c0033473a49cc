/*
 * Fuzzes what reads the words of name servers and containers: messages,
 * resolv.conf, hosts; and dns=. The first byte says which. Input is read from
 * exact copies, so that a byte too far is an error; files also in pieces, which
 * must not make a difference.
 */

#include <stdlib.h>
#include <string.h>

#include "dns/conf.h"
#include "dns/message.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void
require(bool holds)
{
	if (!holds)
		abort();
}

/* The parser's own limits hold, whatever the server says. */
static void
check_answer(const struct dns_answer *a, int result)
{
	require(result == 0 || result == -1 || result == -2);
	require(a->count <= DNS_ADDRS_MAX && a->ttl <= INT32_MAX);
	require(a->aliases <= 17 && a->rcode < 4096);
	require(!a->alias.length || a->alias.wire[a->alias.length - 1] == 0);
}

/* The question that the message says it answers, in another case. */
static void
fuzz_message(const unsigned char *msg, size_t size, unsigned flags)
{
	unsigned char out[DNS_QUERY_SIZE], random[33];
	struct dns_question q = {.type = flags & 1 ? DNS_TYPE_A : DNS_TYPE_AAAA,
	    .edns = flags & 2};
	struct dns_answer answer;
	size_t at, length;

	if (size < 12)
		return;
	at = dns_name_unpack(&q.name, msg, size, 12);
	require(at <= size && (at == 0) == (q.name.length == 0));
	if (!at)
		dns_name_pack(&q.name, "a.test", "");
	memset(random, (int)flags, sizeof(random));
	if (flags & 4)
		dns_name_mix(&q.name, random);
	q.id = (uint16_t)(msg[0] << 8 | msg[1]);
	length = dns_message_build(out, &q);
	require(length <= sizeof(out));
	require(dns_message_match(out, length, &q) == DNS_MATCH_NONE);
	out[2] |= 0x80;
	require(dns_message_match(out, length, &q) == DNS_MATCH_FULL);
	require(dns_message_parse(out, length, false, &q, &answer) == 0);
	if (dns_message_match(msg, size, &q) == DNS_MATCH_NONE)
		return;
	check_answer(&answer,
	    dns_message_parse(msg, size, flags & 8, &q, &answer));
}

static void
feed(struct dns_lexer *lexer, const unsigned char *data, size_t size,
    size_t step)
{
	char *copy;

	for (size_t at = 0; at < size; at += step) {
		size_t n = size - at < step ? size - at : step;

		copy = malloc(n);
		require(copy);
		memcpy(copy, data + at, n);
		dns_lexer_feed(lexer, copy, n);
		free(copy);
	}
}

static void
fuzz_conf(const unsigned char *data, size_t size, unsigned step)
{
	static struct dns_conf whole, pieces;
	struct dns_conf_reader reader;
	struct dns_name name;

	dns_conf_begin(&reader, &whole);
	feed(&reader.lexer, data, size, size + 1);
	dns_conf_end(&reader);
	dns_conf_begin(&reader, &pieces);
	feed(&reader.lexer, data, size, step + 1);
	dns_conf_end(&reader);
	require(memcmp(&whole, &pieces, sizeof(whole)) == 0);
	require(
	    whole.servers.count > 0 && whole.servers.count <= DNS_SERVERS_MAX);
	require(whole.domains <= DNS_DOMAINS_MAX && whole.attempts > 0);
	for (unsigned i = 0; i < whole.domains; i++)
		require(dns_name_pack(&name, dns_conf_domain(&whole, i), ""));
}

static void
fuzz_hosts(const unsigned char *data, size_t size, unsigned step)
{
	static struct dns_result whole, pieces;
	struct dns_hosts_reader reader;

	memset(&whole, 0, sizeof(whole));
	memset(&pieces, 0, sizeof(pieces));
	dns_hosts_begin(&reader, "a.test", &whole);
	feed(&reader.lexer, data, size, size + 1);
	dns_lexer_end(&reader.lexer);
	dns_hosts_begin(&reader, "A.TEST", &pieces);
	feed(&reader.lexer, data, size, step + 1);
	dns_lexer_end(&reader.lexer);
	require(memcmp(&whole, &pieces, sizeof(whole)) == 0);
	require(whole.list[DNS_FOUR].count <= DNS_ADDRS_MAX &&
	    whole.list[DNS_SIX].count <= DNS_ADDRS_MAX);
}

/* A printed server list parses as the same list. */
static void
fuzz_servers(const char *text)
{
	struct dns_servers all, again;
	char out[DNS_SERVERS_MAX * DNS_SERVER_TEXT] = "";
	const char *part = NULL;

	if (dns_servers_parse(&all, text, &part)) {
		require(part >= text && part <= text + strlen(text));
		return;
	}
	require(all.count > 0 && all.count <= DNS_SERVERS_MAX);
	for (unsigned i = 0; i < all.count; i++) {
		if (i)
			strcat(out, "+");
		dns_server_text(&all.server[i], out + strlen(out));
	}
	require(!dns_servers_parse(&again, out, &part));
	require(again.count == all.count &&
	    memcmp(again.server, all.server,
		all.count * sizeof(all.server[0])) == 0);
}

/* A name that is valid fits a message, and is found there again. */
static void
fuzz_name(const char *text)
{
	unsigned char msg[12 + DNS_WIRE_MAX] = {0};
	struct dns_name name, again;
	char bare[DNS_TEXT_SIZE];
	size_t length = strlen(text);

	if (dns_name_check(text) != DNS_NAME_OK)
		return;
	require(length < sizeof(bare));
	memcpy(bare, text, length + 1);
	if (bare[length - 1] == '.')
		bare[length - 1] = '\0';
	require(dns_name_pack(&name, bare, ""));
	memcpy(msg + 12, name.wire, name.length);
	require(
	    dns_name_unpack(&again, msg, sizeof(msg), 12) == 12U + name.length);
	require(dns_name_equal(&name, &again));
	require(dns_text_equal(text, text));
}

static void
fuzz_text(const unsigned char *data, size_t size, bool servers)
{
	char *text = calloc(1, size + 1);

	require(text != NULL);
	memcpy(text, data, size);
	if (servers)
		fuzz_servers(text);
	else
		fuzz_name(text);
	free(text);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	unsigned char *copy;
	unsigned flags;

	if (size == 0)
		return 0;
	flags = data[0] / 5;
	copy = malloc(size - 1 ? size - 1 : 1);
	require(copy);
	memcpy(copy, data + 1, size - 1);
	switch (data[0] % 5) {
	case 0:
		fuzz_message(copy, size - 1, flags);
		break;
	case 1:
		fuzz_conf(copy, size - 1, flags);
		break;
	case 2:
		fuzz_hosts(copy, size - 1, flags);
		break;
	default:
		fuzz_text(copy, size - 1, data[0] % 5 == 3);
	}
	free(copy);
	return 0;
}
