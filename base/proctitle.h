/* The title that ps(1) shows of a process. */

#ifndef BASE_PROCTITLE_H
#define BASE_PROCTITLE_H

/* Remembers where ps(1) reads from; moves the environment out of the way. */
void proctitle_init(int argc, char **argv);

/* What ps(1) shows of this process, after "nsfwd: ". */
void proctitle_set(const char *what, const char *of, const char *more);

#endif
