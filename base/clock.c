/* The monotonic clock, in milliseconds. */

#include <time.h>

#include "base/clock.h"

msec
now_ms(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (msec)ts.tv_sec * 1000 + ts.tv_nsec / 1000000;
}

msec
msec_min(msec a, msec b)
{
	return b < a ? b : a;
}
