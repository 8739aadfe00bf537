#include "fs/cli/units.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

static const char letters[] = "KMGTP";

int units_parse_size(const char *text, uint64_t *ret_bytes)
{
	const char *letter;
	char *end;
	double number, factor = 1;

	if (text[0] < '0' || text[0] > '9')
		return -EINVAL;
	errno = 0;
	number = strtod(text, &end);
	if (*end) {
		letter = strchr(letters, *end >= 'a' ? *end - 'a' + 'A' : *end);
		if (!letter)
			return -EINVAL;
		for (const char *at = letters; at <= letter; at++)
			factor *= 1024;
		end++;
		if (*end && strcmp(end, "B") != 0 && strcmp(end, "iB") != 0)
			return -EINVAL;
	}
	if (errno || number * factor >= 9.2e18)
		return -EINVAL;
	*ret_bytes = (uint64_t)(number * factor);
	return 0;
}

void units_size(uint64_t bytes, char out[UNITS_MAX])
{
	double number = (double)bytes;
	int unit = -1;

	while (number >= 1023.95 && unit < (int)strlen(letters) - 1) {
		number /= 1024;
		unit++;
	}
	if (unit < 0)
		snprintf(out, UNITS_MAX, "%llu B", (unsigned long long)bytes);
	else
		snprintf(out, UNITS_MAX, "%.1f %ciB", number, letters[unit]);
}

void units_count(long long count, const char *one, const char *more, char out[UNITS_MAX])
{
	snprintf(out, UNITS_MAX, "%lld %s", count, count == 1 ? one : more);
}

void units_time(double seconds, char out[UNITS_MAX])
{
	time_t time = (time_t)seconds;
	struct tm tm;

	if (!localtime_r(&time, &tm) || strftime(out, UNITS_MAX, "%Y-%m-%d %H:%M:%S", &tm) == 0)
		snprintf(out, UNITS_MAX, "@%lld", (long long)time);
}
