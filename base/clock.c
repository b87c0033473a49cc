/* Reads the monotonic clock. */

#include <time.h>

#include "base/clock.h"

msec
now_ms(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (msec)ts.tv_sec * 1000 + ts.tv_nsec / 1000000;
}
