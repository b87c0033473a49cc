/* Text that may hold passwords: no child process has a copy of its memory. */

#ifndef BASE_SECRET_H
#define BASE_SECRET_H

#include <stdbool.h>
#include <stddef.h>

/*
 * Returns `size` bytes of zeros on pages of their own, or NULL with errno.
 * secret_free() releases them.
 */
char *secret_new(size_t size);

/* Returns a copy of a text, as secret_new() does. */
char *secret_copy(const char *text);

/* Releases what secret_new() returned, or NULL. */
void secret_free(char *);

/*
 * Leaves all secrets, and those that this process makes from now on, out of the
 * memory of its children, see MADV_DONTFORK in madvise(2). A child makes and
 * releases none. Returns -1 with errno.
 */
int secrets_hide(void);

/*
 * Says whether the children that start from now on have this secret, unless
 * it is NULL. Returns -1 with errno.
 */
int secret_inherit(char *, bool inherited);

/*
 * Moves a secret that this process inherited to memory that its own children
 * have. Returns it, or NULL without memory.
 */
char *secret_take(char *);

/* Fills with zeros what malloc(3) returned, unless it is NULL, and frees it. */
void wipe_and_free(void *);

/*
 * Clears what functions that have returned left on the stack, as far as they
 * needed no more than 128 kB.
 */
void wipe_stack(void);

#endif
