/*
 * Fuzzes what reads the words of strangers: replies of proxies, PROXY headers,
 * requests of a proxy's clients. However an input is cut, the verdict is the
 * same; a whole message is then taken to pieces as in earnest.
 */

#include "../proxy/hop.c"
#include "../proxy/proxy_protocol.c"
#include "../proxy/server.c"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct socks_reply socks = {.version = 5}, password = {.version = 1};
static union sockaddr_inet peers[2];
static int status;
static enum client_protocol spoken;
static bool not_last;

/* What libFuzzer gives first chooses one of these. */
static const struct target {
	io_parser *parse;
	void *arg;
	size_t most; /* bytes that io_read_message() has room for */
} targets[] = {
    {parse_http, &status, HTTP_HEAD_MAX},
    {parse_method_reply, &socks, 4},
    {parse_method_reply, &password, 4},
    {parse_connect_reply, &socks, 262},
    {parse_header, peers, V2_FIXED + V2_MAX},
    {detect_protocol, &spoken, HTTP_HEAD_MAX},
    {parse_password, NULL, HTTP_HEAD_MAX},
    {parse_request, NULL, HTTP_HEAD_MAX},
    {parse_status_line, &not_last, HTTP_HEAD_MAX},
};

/* As io_read_message(), of an exact copy, so that a byte too far is an error. */
static ssize_t
whole(const struct target *t, const uint8_t *data, size_t size)
{
	unsigned char *copy = malloc(size);
	ssize_t n;

	if (!copy)
		abort();
	memcpy(copy, data, size);
	n = t->parse(copy, size, t->arg);
	free(copy);
	return n;
}

/* 0 until it is known, and the same for ever from there on. */
static ssize_t
verdict_of(const struct target *t, const uint8_t *data, size_t size)
{
	ssize_t first = 0, n;

	for (size_t i = 1; i <= size; i++) {
		n = whole(t, data, i);
		if (first ? n != first : n > (ssize_t)i)
			abort();
		first = n;
		/* Long ones in steps: what is known was known before. */
		if (i > 600 && i + 97 < size)
			i += 96;
	}
	if (first > 0 && size <= 600 && first != (ssize_t)size &&
	    whole(t, data, (size_t)first - 1) != 0)
		abort();
	return first;
}

static void
hear_it(const uint8_t *data, size_t length, const struct map *map)
{
	static struct conn_report report;
	struct conn conn = {.map = map, .report = &report};
	struct session s = {.conn = &conn};

	memcpy(s.in_buf, data, length);
	s.tongue = spoken;
	if (spoken == SOCKS4)
		read_socks4(&s);
	else if (spoken == HTTP)
		read_http_request(&s, length);
	if (memchr(s.request, '\0', sizeof(s.request)) == NULL ||
	    memchr(report.requested, '\0', sizeof(report.requested)) == NULL)
		abort();
	endpoint_free(&s.asked);
}

/* What is printed is read as the same again. */
static void
check_header(void)
{
	unsigned char out[HEADER_SIZE];
	union sockaddr_inet again[2] = {{{0}}};
	size_t length;

	for (unsigned version = 1; version <= 2; version++) {
		length = pp_write(out, version, &peers[0], &peers[1], "ns");
		if (length > sizeof(out) ||
		    parse_header(out, length, again) != (ssize_t)length ||
		    memcmp(again, peers, sizeof(peers)) != 0)
			abort();
	}
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static char user[] = "user", secret[] = "secret";
	static const struct map open_map,
	    closed = {
		.user = user,
		.password = secret,
	    };
	char text[HOSTPORT_MAX];
	struct endpoint ep = {0};
	const struct target *t;
	ssize_t n;

	if (size < 2)
		return 0;
	t = &targets[data[0] % (sizeof(targets) / sizeof(targets[0]))];
	data++;
	size = size - 1 < t->most ? size - 1 : t->most;
	memset(peers, 0, sizeof(peers));
	spoken = PROTO_UNKNOWN;
	n = verdict_of(t, data, size);
	if (n <= 0)
		return 0;
	if (t->parse == parse_header && peers[0].sa.sa_family)
		check_header();
	if (t->parse == detect_protocol && spoken != PROTO_UNKNOWN) {
		hear_it(data, (size_t)n, &open_map);
		hear_it(data, (size_t)n, &closed);
	}
	if (t->parse == parse_request &&
	    socks_addr_format(text, data + 3) == 0) {
		endpoint_parse_untrusted(&ep, text);
		endpoint_free(&ep);
	}
	return 0;
}
