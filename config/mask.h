/* Masks passwords in text that is shown. */

#ifndef CONFIG_MASK_H
#define CONFIG_MASK_H

/*
 * Replaces each byte of a password by '*'. The text is one or more arguments of
 * a user, right or wrong, with white space between them. All text that a
 * message shows is masked first, and as a whole, because a part of it does not
 * tell where a password ends.
 */
void mask_text(char *text);

/* Returns a masked copy, which the caller frees, or NULL with ENOMEM. */
char *mask_copy(const char *text);

/* A text and its masked copy, which has the same length. */
struct masked_text {
	char *text, *masked;
};

/* Returns where the masked copy has a part of text. */
const char *masked_part(const struct masked_text *, const char *part);

/* Returns how many bytes of a text to show, so that a message fits its line. */
int shown_length(const char *text);

#endif
