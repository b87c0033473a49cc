/* Writes messages on lines of files in the order of the lines. */

#ifndef CONFIG_ORDER_H
#define CONFIG_ORDER_H

/*
 * Keeps the messages of this process until order_end() writes them. Those that
 * begin with "FILE:LINE: " are put in the order of the lines of their file. A
 * child process, or a process without memory, writes a message at once.
 */
void order_begin(void);
void order_end(void);

#endif
