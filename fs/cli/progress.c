#include "fs/cli/progress.h"

#include <stdio.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "fs/cli/units.h"
#include "lib/base/buf.h"
#include "lib/base/clock.h"

#define DRAW_EVERY_MS 100
#define BAR_MAX 30
#define BAR_MIN 5
#define COLUMNS 80 /* when the terminal does not say */

struct progress progress_start(const char *title)
{
	return (struct progress){.title = title, .terminal = isatty(STDERR_FILENO), .started_ms = clock_ms()};
}

/* In the last column a character may make a terminal go to the next line. */
static size_t room(void)
{
	struct winsize size;

	return (ioctl(STDERR_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col > 1 ? size.ws_col : COLUMNS) - 1;
}

static void add_rate(struct buf *line, const struct progress *progress, json_int_t done, json_int_t total, uint64_t now)
{
	double seconds = (double)(now - progress->started_ms) / 1e3, rate = seconds > 0 ? (double)done / seconds : 0;
	char bytes[UNITS_MAX], each[UNITS_MAX];
	unsigned left;

	units_size((uint64_t)done, bytes);
	units_size((uint64_t)rate, each);
	buf_addf(line, " %s, %s/s", bytes, each);
	if (total <= done || rate < 1)
		return;
	left = (unsigned)((double)(total - done) / rate);
	buf_addf(line, ", %u:%02u left", left / 60, left % 60);
}

/* "[####....]" of what is left of the line; nothing when that is too little to tell anything. */
static void add_bar(struct buf *line, double part, size_t left)
{
	size_t width = MIN(left, (size_t)BAR_MAX + 3);

	if (width < BAR_MIN + 3)
		return;
	width -= 3;
	buf_addf(line, "[");
	for (size_t i = 0; i < width; i++)
		buf_add_u8(line, i < (size_t)(part * (double)width) ? '#' : '.');
	buf_addf(line, "] ");
}

static void draw(const struct progress *progress, const json_t *state, uint64_t now)
{
	json_int_t done = json_integer_value(json_object_get(state, "done")), total = json_integer_value(json_object_get(state, "total"));
	const char *phase = json_string_value(json_object_get(state, "phase"));
	double part = done >= total ? 1 : (double)done / (double)total;
	AUTO_BUF line = BUF_INIT, numbers = BUF_INIT;
	size_t columns = room();

	buf_addf(&line, "%s: %s ", progress->title, phase ? phase : "");
	if (total > 0)
		buf_addf(&numbers, "%3.0f%%", part * 100);
	if (json_object_get(state, "unit"))
		add_rate(&numbers, progress, done, total, now);
	else if (total == 0)
		buf_addf(&numbers, "%lld", (long long)done);
	if (total > 0 && line.len + numbers.len < columns)
		add_bar(&line, part, columns - line.len - numbers.len);
	buf_add(&line, numbers.data, numbers.len);
	fprintf(stderr, "\r\033[K%.*s", (int)MIN(line.len, columns), (const char *)line.data);
	fflush(stderr);
}

void progress_show(void *arg, json_t *state)
{
	struct progress *progress = arg;
	uint64_t now = clock_ms();

	if (!progress->terminal || (progress->drawn && now - progress->drawn_ms < DRAW_EVERY_MS))
		return;
	progress->drawn = true;
	progress->drawn_ms = now;
	draw(progress, state, now);
}

void progress_end(struct progress *progress)
{
	if (progress->drawn)
		fprintf(stderr, "\r\033[K");
}
