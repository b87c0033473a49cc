/* Says by a name whether its value may be a password. */

#ifndef CONFIG_SECRET_NAME_H
#define CONFIG_SECRET_NAME_H

#include <stddef.h>

/* The content of a value, as far as the name in front tells. */
enum secret_value {
	VALUE_OTHER,  /* unknown: masked, unless the name is a known key */
	VALUE_LOGIN,  /* USER or USER:PASSWORD */
	VALUE_AUTH,   /* USER:PASSWORD or PASSWORD */
	VALUE_SECRET, /* PASSWORD */
};

/* Returns the content of the value behind a name that may be misspelt. */
enum secret_value secret_value(const char *name, size_t length);

#endif
