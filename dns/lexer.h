/* Splits resolv.conf and hosts into words, however they are cut into pieces. */

#ifndef DNS_LEXER_H
#define DNS_LEXER_H

#include <stdbool.h>
#include <stddef.h>

#define DNS_WORD_SIZE 256

struct dns_lexer {
	/*
	 * Called for each word with its index in its line. A word that is too
	 * long is skipped, but counted.
	 */
	void (*word)(void *arg, unsigned index, const char *word);
	void *arg;
	bool indented; /* if false, lines that begin with a blank are ignored */
	bool anywhere; /* '#' begins a comment inside a word, too */
	const char *comment; /* the bytes that begin a comment */

	/* private; zero at first */
	unsigned index;
	size_t length;
	bool skip, blank;
	char buf[DNS_WORD_SIZE];
};

/* Reads the next piece. */
void dns_lexer_feed(struct dns_lexer *, const char *data, size_t size);

/* Ends the last line, if the file has no newline at its end. */
void dns_lexer_end(struct dns_lexer *);

#endif
