/* Counts the elements of an array. */

#ifndef BASE_ARRAY_H
#define BASE_ARRAY_H

#define ARRAY_LEN(a) (sizeof(a) / sizeof((a)[0]))

#endif
