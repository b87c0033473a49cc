/* Passwords in text that is shown. */

#ifndef CONFIG_MASK_H
#define CONFIG_MASK_H

/*
 * Makes each byte of a password '*', in a text of one or several words of a
 * user, right or wrong. Whatever a message shows has been through it, whole:
 * where a password ends is not seen in a part.
 */
void mask_text(char *text);

#endif
