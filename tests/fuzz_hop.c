/*
 * Fuzzes the parsers of proxy/: replies of proxies, PROXY headers, requests of
 * clients, responses of targets. A parser must return the same result however
 * its input is cut; a whole message is then processed as a connection does.
 */

#include "../proxy/forward.c"
#include "../proxy/hop.c"
#include "../proxy/proxy_protocol.c"
#include "../proxy/server.c"

#include <sanitizer/asan_interface.h>
#include <stdlib.h>

#define EACH_MAX 600 /* bytes, up to which each prefix is parsed */
#define STEP     97

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct socks_reply socks = {.version = 5}, password = {.version = 1};
static struct pp_tlvs parsed_tlvs;
static struct pp_header parsed = {.tlvs = &parsed_tlvs};
static int status;
static enum request_kind parsed_kind;

/* The first byte of the input chooses a parser. */
static const struct parser {
	io_parser *parse;
	void *arg;
	size_t most; /* bytes that io_read_message() has room for */
} parsers[] = {
    {parse_http, &status, HTTP_HEAD_MAX},
    {parse_method_reply, &socks, 4},
    {parse_method_reply, &password, 4},
    {parse_connect_reply, &socks, 262},
    {parse_header, &parsed, V2_FIXED + V2_MAX},
    {parse_first_message, &parsed_kind, HTTP_HEAD_MAX},
    {parse_password, NULL, HTTP_HEAD_MAX},
    {parse_socks5_request, NULL, HTTP_HEAD_MAX},
    {http_response_length, NULL, HTTP_HEAD_MAX},
};

/* Not on the stack, because zeroing them takes longer than a parser. */
static struct proxy_session session;
static char rewritten[sizeof(session.out)];

/* The sanitizer refuses to read the bytes that have not arrived yet. */
static _Alignas(8) unsigned char input[HTTP_HEAD_MAX];

/*
 * Parses every prefix of the input, long ones in steps. Aborts if a message is
 * not found with its last byte, or if a result other than 0 (more is needed)
 * changes with more bytes.
 */
static ssize_t
parse_prefixes(const struct parser *p, const uint8_t *data, size_t size)
{
	ssize_t result = 0, least = 1, n;

	ASAN_UNPOISON_MEMORY_REGION(input, size);
	memcpy(input, data, size);
	ASAN_POISON_MEMORY_REGION(input, sizeof(input));
	for (size_t i = 1; i <= size; i++) {
		ASAN_UNPOISON_MEMORY_REGION(input, i);
		n = p->parse(input, i, p->arg);
		if (result ? n != result
			   : n > (ssize_t)i || (n > 0 && n < least))
			abort();
		result = n;
		least = (ssize_t)i + 1;
		if (i > EACH_MAX && i + STEP <= size)
			i += STEP - 1;
	}
	return result;
}

static void
take_request(const uint8_t *data, size_t length, const struct map *map)
{
	struct conn_report report = {0};
	struct proxy_session *s = &session;

	s->map = map;
	s->report = &report;
	s->kind = parsed_kind;
	s->out[0] = '\0';
	memcpy(s->in_buf, data, length);
	s->in_buf[length] = 0xff;
	if (parsed_kind == REQUEST_SOCKS4)
		take_socks4_request(s);
	else if (parsed_kind == REQUEST_HTTP)
		take_http_request(s, length);
	if (memchr(s->out, '\0', sizeof(s->out)) == NULL ||
	    memchr(report.requested, '\0', HOSTPORT_MAX) == NULL)
		abort();
	/* The rewritten request must be one head, as its receiver sees it. */
	if (s->out[0] && s->kind == REQUEST_HTTP &&
	    http_head_length((unsigned char *)s->out, strlen(s->out)) !=
		(ssize_t)strlen(s->out))
		abort();
	endpoint_free(&s->target);
	s->target = (struct endpoint){0};
}

static void
take_response(const uint8_t *data, size_t length)
{
	struct http_response r;
	size_t n;

	memcpy(session.in_buf, data, length);
	session.in_buf[length] = 0xff;
	if (http_parse_response(&r, (char *)session.in_buf, length, true) == -1)
		return;
	n = http_rewrite_response(&r, rewritten, sizeof(rewritten), "close");
	if (http_head_length((unsigned char *)rewritten, n) != (ssize_t)n)
		abort();
}

/* Takes the body in pieces of that size. Returns its length, or -1. */
static ssize_t
take_pieces(struct http_body *b, const uint8_t *data, size_t size, size_t piece)
{
	size_t total = 0;
	ssize_t n;

	while (total < size && !b->done) {
		n = body_take(b, data + total,
		    size - total < piece ? size - total : piece);
		if (n == -1)
			return -1;
		if (n == 0)
			abort();
		total += (size_t)n;
	}
	return (ssize_t)total;
}

/* The end of a body must not depend on how it is cut. */
static void
check_body(const uint8_t *data, size_t size)
{
	struct http_body first = {.kind = BODY_CHUNKED, .strict = data[0] & 1};
	struct http_body whole = first, pieces;
	ssize_t length = take_pieces(&whole, data + 1, size - 1, size);

	for (size_t piece = 1; piece < size && piece < 64; piece++) {
		pieces = first;
		if (take_pieces(&pieces, data + 1, size - 1, piece) != length ||
		    (length != -1 &&
			(pieces.done != whole.done ||
			    pieces.left != whole.left ||
			    pieces.part != whole.part)))
			abort();
	}
}

/* Writes the parsed addresses, and aborts if they parse as others. */
static void
check_header(void)
{
	unsigned char out[PP_HEADER_MAX];
	static struct pp_tlvs tlvs;
	struct pp_header again = {.tlvs = &tlvs};
	size_t length;

	for (unsigned version = 1; version <= 2; version++) {
		length = pp_write(out, version, &parsed.addrs[0],
		    &parsed.addrs[1], "ns", &parsed_tlvs);
		if (length > sizeof(out))
			abort();
		/* More than is read, because the namespace is added. */
		if (length > V2_FIXED + V2_MAX)
			continue;
		if (parse_header(out, length, &again) != (ssize_t)length ||
		    memcmp(again.addrs, parsed.addrs, sizeof(again.addrs)) != 0)
			abort();
		if (version == 2 &&
		    (tlvs.length != parsed_tlvs.length ||
			memcmp(tlvs.data, parsed_tlvs.data, tlvs.length) != 0))
			abort();
	}
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static char user[] = "user", secret[] = "secret";
	static const struct map open_map,
	    closed_map = {
		.user = user,
		.password = secret,
	    };
	char text[HOSTPORT_MAX];
	struct endpoint ep = {0};
	const struct parser *p;
	ssize_t n;

	if (size < 2)
		return 0;
	if (data[0] == 0xff) {
		check_body(data + 1, size - 1);
		return 0;
	}
	p = &parsers[data[0] % (sizeof(parsers) / sizeof(parsers[0]))];
	data++;
	size = size - 1 < p->most ? size - 1 : p->most;
	memset(parsed.addrs, 0, sizeof(parsed.addrs));
	parsed_tlvs.length = 0;
	parsed_kind = REQUEST_NONE;
	n = parse_prefixes(p, data, size);
	if (n <= 0)
		return 0;
	if (p->parse == http_response_length)
		take_response(data, (size_t)n);
	if (p->parse == parse_header && parsed.addrs[0].sa.sa_family)
		check_header();
	if (p->parse == parse_first_message && parsed_kind != REQUEST_NONE) {
		take_request(data, (size_t)n, &open_map);
		take_request(data, (size_t)n, &closed_map);
	}
	if (p->parse == parse_socks5_request &&
	    socks_addr_format(text, data + 3) == 0) {
		endpoint_parse_untrusted(&ep, text);
		endpoint_free(&ep);
	}
	return 0;
}
