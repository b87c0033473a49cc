/* Writes messages on lines of files in the order of the lines. */

#ifndef CONFIG_ORDER_H
#define CONFIG_ORDER_H

/*
 * Keeps what this process logs, until order_end() writes it: messages that
 * begin with "FILE:LINE: " in the order of the lines of a file, others where
 * they stood. A child process writes its messages at once.
 */
void order_begin(void);
void order_end(void);

#endif
