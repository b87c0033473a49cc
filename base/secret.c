/* Keeps secrets out of the memory of child processes. */

#include <malloc.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "base/secret.h"

#include "base/memory.h"

#define STACK_SIZE 131072
#define PLACE      ((char *)((uintptr_t)1 << 36))
#define PAGE_MASK  ((size_t)4095)

struct secret {
	struct secret *next, *previous;
	size_t size;
	char text[];
};

static struct secret *secrets;

/*
 * Where the next one goes. Among other memory a secret would split what a child
 * process gets, which would make each fork(2) of the child cost more.
 */
static char *next_place = PLACE;
static bool secrets_hidden;

static struct secret *
secret_of(char *text)
{
	return (struct secret *)(void *)(text - offsetof(struct secret, text));
}

static int
secret_advise(struct secret *s, bool inherited)
{
	return madvise(s, s->size, inherited ? MADV_DOFORK : MADV_DONTFORK);
}

char *
secret_new(size_t size)
{
	struct secret *s;

	size += sizeof(*s);
	s = memory_map(next_place, 1, size, MAP_PRIVATE);
	if (!s)
		return NULL;
	next_place = (char *)s + ((size + PAGE_MASK) & ~PAGE_MASK);
	/* A secret not yet written to joins the mapping in front. */
	if (secrets_hidden && madvise(s, size, MADV_DONTFORK) == -1) {
		munmap(s, size);
		return NULL;
	}
	*s = (struct secret){.next = secrets, .size = size};
	if (secrets)
		secrets->previous = s;
	secrets = s;
	return s->text;
}

char *
secret_copy(const char *text)
{
	const size_t size = strlen(text) + 1;
	char *copy = secret_new(size);

	return copy ? memcpy(copy, text, size) : NULL;
}

void
secret_free(char *text)
{
	struct secret *s;

	if (!text)
		return;
	s = secret_of(text);
	if (s->next)
		s->next->previous = s->previous;
	if (s->previous)
		s->previous->next = s->next;
	else
		secrets = s->next;
	munmap(s, s->size);
}

int
secrets_hide(void)
{
	secrets_hidden = true;
	for (struct secret *s = secrets; s; s = s->next)
		if (secret_advise(s, false) == -1)
			return -1;
	return 0;
}

int
secret_inherit(char *text, bool inherited)
{
	return text ? secret_advise(secret_of(text), inherited) : 0;
}

char *
secret_take(char *text)
{
	char *copy = strdup(text);

	munmap(secret_of(text), secret_of(text)->size);
	return copy;
}

void
wipe_and_free(void *p)
{
	if (p)
		explicit_bzero(p, malloc_usable_size(p));
	free(p);
}

void
wipe_stack(void)
{
	char unused[STACK_SIZE];

	explicit_bzero(unused, sizeof(unused));
}
