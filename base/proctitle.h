/* Sets the process title that ps(1) shows. */

#ifndef BASE_PROCTITLE_H
#define BASE_PROCTITLE_H

/*
 * Claims the memory of the arguments and the environment for the title. Moves
 * the environment to the heap.
 */
void proctitle_init(int argc, char **argv);

/*
 * Sets the title to "nsfwd: " and the three strings, cut to the memory there
 * is. Does nothing before proctitle_init().
 */
void proctitle_set(const char *left, const char *separator, const char *right);

#endif
