#include "fs/cli/progress.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "fs/cli/units.h"
#include "lib/base/clock.h"

#define DRAW_EVERY_MS 100
#define BAR_WIDTH 30

struct progress progress_start(const char *title)
{
	return (struct progress){.title = title, .terminal = isatty(STDERR_FILENO), .started_ms = clock_ms()};
}

static void show_rate(const struct progress *progress, json_int_t done, json_int_t total, uint64_t now)
{
	double seconds = (double)(now - progress->started_ms) / 1e3, rate = seconds > 0 ? (double)done / seconds : 0;
	char bytes[UNITS_MAX], each[UNITS_MAX];
	unsigned left;

	units_size((uint64_t)done, bytes);
	units_size((uint64_t)rate, each);
	fprintf(stderr, " %s, %s/s", bytes, each);
	if (total <= done || rate < 1)
		return;
	left = (unsigned)((double)(total - done) / rate);
	fprintf(stderr, ", %u:%02u left", left / 60, left % 60);
}

void progress_show(void *arg, json_t *state)
{
	struct progress *progress = arg;
	json_int_t done = json_integer_value(json_object_get(state, "done")),
		   total = json_integer_value(json_object_get(state, "total"));
	const char *phase = json_string_value(json_object_get(state, "phase"));
	uint64_t now = clock_ms();
	char bar[BAR_WIDTH + 1];

	if (!progress->terminal || (progress->drawn && now - progress->drawn_ms < DRAW_EVERY_MS))
		return;
	progress->drawn = true;
	progress->drawn_ms = now;
	fprintf(stderr, "\r\033[K%s: %s ", progress->title, phase ? phase : "");
	if (total > 0) {
		double part = done > total ? 1 : (double)done / (double)total;
		memset(bar, '.', BAR_WIDTH);
		memset(bar, '#', (size_t)(part * BAR_WIDTH));
		bar[BAR_WIDTH] = '\0';
		fprintf(stderr, "[%s] %3.0f%%", bar, part * 100);
	}
	if (json_object_get(state, "unit")) {
		show_rate(progress, done, total, now);
	} else if (total == 0) {
		fprintf(stderr, "%lld", (long long)done);
	}
	fflush(stderr);
}

void progress_end(struct progress *progress)
{
	if (progress->drawn)
		fprintf(stderr, "\r\033[K");
}
