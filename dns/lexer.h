/* Splits resolv.conf and hosts into words, however they are cut into pieces. */

#ifndef DNS_LEXER_H
#define DNS_LEXER_H

#include <stdbool.h>
#include <stddef.h>

#define DNS_WORD_SIZE 256

struct dns_lexer {
	/*
	 * Gets each word, and its number in its line from 0. A word that is too
	 * long is passed over, but counted.
	 */
	void (*word)(void *arg, unsigned index, const char *word);
	void *arg;
	bool indented; /* a line may begin with blanks; else it is ignored */
	bool anywhere; /* '#' begins a comment also inside of a word */
	const char *comment; /* the bytes that begin one */

	/* Its own; zero at first. */
	unsigned index;
	size_t length;
	bool skip, blank;
	char buf[DNS_WORD_SIZE];
};

/* Reads the next piece. */
void dns_lexer_feed(struct dns_lexer *, const char *data, size_t size);

/* Ends the last line, where nothing else did. */
void dns_lexer_end(struct dns_lexer *);

#endif
