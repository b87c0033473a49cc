/* Reads the clocks. */

#include <stdio.h>
#include <time.h>

#include "base/clock.h"

msec
now_ms(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (msec)ts.tv_sec * 1000 + ts.tv_nsec / 1000000;
}

int64_t
now_us(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (int64_t)ts.tv_sec * 1000000 + ts.tv_nsec / 1000;
}

msec
msec_min(msec a, msec b)
{
	return a < b ? a : b;
}

msec
deadline_after(msec start_at, msec timeout)
{
	return timeout ? start_at + timeout : NEVER;
}

int
poll_timeout(msec at)
{
	msec left;

	if (at == NEVER)
		return -1;
	left = at - now_ms();
	return left < 0 ? 0 : left > INT32_MAX ? INT32_MAX : (int)left;
}

/* Days are counted from March 1 of year 0, so that February 29 comes last. */
void
clock_format_utc(char *text)
{
	struct timespec ts;
	long long days, era, year;
	unsigned day, month;

	clock_gettime(CLOCK_REALTIME, &ts);
	days = ts.tv_sec / 86400 + 719468;
	era = days / 146097;
	days -= era * 146097;
	year = (days - days / 1460 + days / 36524 - days / 146096) / 365;
	day = (unsigned)(days - (365 * year + year / 4 - year / 100));
	month = (5 * day + 2) / 153;
	day -= (153 * month + 2) / 5;
	month = month < 10 ? month + 3 : month - 9;
	year += era * 400 + (month <= 2);
	snprintf(text, 26, "%04u-%02u-%02uT%02u:%02u:%02u.%03uZ",
	    (unsigned)year % 10000, month % 100, (day + 1) % 100,
	    (unsigned)(ts.tv_sec / 3600 % 24), (unsigned)(ts.tv_sec / 60 % 60),
	    (unsigned)(ts.tv_sec % 60),
	    (unsigned)(ts.tv_nsec / 1000000 % 1000));
}
