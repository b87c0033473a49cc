/* Splits resolv.conf and hosts into words. */

#include <string.h>

#include "dns/lexer.h"

static void
end_word(struct dns_lexer *l)
{
	if (l->length == 0)
		return;
	if (l->length < sizeof(l->buf)) {
		l->buf[l->length] = '\0';
		l->word(l->arg, l->index, l->buf);
	}
	l->length = 0;
	l->index++;
}

static void
end_line(struct dns_lexer *l)
{
	end_word(l);
	l->index = 0;
	l->skip = l->blank = false;
}

static void
take_byte(struct dns_lexer *l, char c)
{
	if (c == '\n') {
		end_line(l);
		return;
	}
	if (l->skip)
		return;
	if (c == ' ' || c == '\t' || c == '\r' || c == '\0') {
		end_word(l);
		l->blank = true;
	} else if (strchr(l->comment, c) && (l->anywhere || l->length == 0)) {
		end_word(l);
		l->skip = true;
	} else if (l->blank && l->index == 0 && !l->indented) {
		l->skip = true;
	} else if (l->length < sizeof(l->buf)) {
		l->buf[l->length++] = c;
	}
}

void
dns_lexer_feed(struct dns_lexer *l, const char *data, size_t size)
{
	for (size_t i = 0; i < size; i++)
		take_byte(l, data[i]);
}

void
dns_lexer_end(struct dns_lexer *l)
{
	end_line(l);
}
