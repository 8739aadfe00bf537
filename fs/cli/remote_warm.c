#include "fs/cli/remote_warm.h"

#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "fs/cli/exit.h"
#include "fs/cli/interrupt.h"
#include "fs/cli/json_rows.h"
#include "fs/cli/progress.h"
#include "fs/cli/say.h"
#include "fs/cli/units.h"
#include "fs/cli/warm_remote.h"
#include "lib/base/array.h"
#include "lib/base/buf.h"
#include "lib/base/clock.h"
#include "lib/base/pool.h"

#define AHEAD (1ULL << 30)
#define LOOK_US 50000
/* What is in the kernel's page cache is read without the mount hearing of it: who has not moved for so long may be far ahead. */
#define STILL_MS 5000
/* What is fetched at once of a list: files, and bytes. */
#define TOGETHER 64
#define TOGETHER_BYTES (32U << 20)
#define THREADS 15 /* and the main one */

struct warming {
	struct progress progress;
	struct warm_place place;
	uint64_t total, started_ms;
	uint64_t pinned_missing; /* bytes, at the end */
	pthread_mutex_t lock; /* guards what follows */
	uint64_t files, bytes, failed;
	int result; /* of the first that failed; err tells */
	struct error err;
};

static void add(struct warming *warming, const struct remote_step *step, int result, const struct error *err)
{
	pthread_mutex_lock(&warming->lock);
	warming->files += step->files;
	warming->bytes += step->bytes;
	warming->failed += step->failed;
	if (result < 0 && warming->result == 0) {
		warming->result = result;
		warming->err = *err;
	}
	pthread_mutex_unlock(&warming->lock);
}

static void show(struct warming *warming)
{
	json_t *state = json_pack("{s:s, s:I, s:I, s:s}", "phase", "fetching", "done", (json_int_t)warming->bytes, "total", (json_int_t)warming->total, "unit",
	                          "bytes");

	progress_show(&warming->progress, state);
	json_decref(state);
}

/* --- all of it --- */

static int count(void *arg, const struct warm_entry *entry, struct error *err)
{
	(void)err;
	((struct warming *)arg)->total += entry->size;
	return interrupt_came() ? -ECANCELED : 0;
}

/* What is in each directory. */
static int bring(void *arg, const struct warm_entry *entry, struct error *err)
{
	struct warming *warming = arg;
	struct remote_step step = {.at_end = !entry->is_dir && !(entry->is_file && entry->is_top)};
	int r = 0;

	while (r == 0 && !step.at_end) {
		r = interrupt_came() ? -ECANCELED : warm_place_bring(&warming->place, entry, &step, err);
		if (r == 0)
			add(warming, &step, 0, NULL);
		show(warming);
	}
	return r;
}

/* Before it takes hours. */
static void note_small(const struct warming *warming, uint64_t limit)
{
	char all[UNITS_MAX], fits[UNITS_MAX];

	if (limit == 0 || warming->total <= limit)
		return;
	units_size(warming->total, all);
	units_size(limit, fits);
	fprintf(stderr, "corpusfs: note: the cache holds %s of these %s: what is fetched first goes again; mount with a larger cache_size\n", fits, all);
}

static int warm_all(struct warming *warming, uint64_t limit, bool pins, struct error *err)
{
	int r = warm_place_walk(&warming->place, count, warming, err);

	if (r < 0)
		return r;
	/* Before anything is fetched: what is pinned must fit. */
	if (!pins)
		note_small(warming, limit);
	r = pins ? warm_place_pin(&warming->place, WARM_PIN, err) : 0;
	if (r == 0)
		r = warm_place_walk(&warming->place, bring, warming, err);
	return r == 0 && pins ? warm_place_missing(&warming->place, &warming->pinned_missing, err) : r;
}

/* --- in the order of a list --- */

struct following {
	struct warming *warming;
	FILE *list;
	uint64_t ahead, read_before;
	ARRAY(char *) paths; /* that are fetched at once */
};

static void bring_one(void *arg, size_t number)
{
	struct following *following = arg;
	struct remote_step step = {0};
	struct error err = {0};
	int r = 0;

	while (r == 0 && !step.at_end && !interrupt_came()) {
		r = remote_mount_bring(following->paths.items[number], &step, &err);
		if (r < 0)
			step = (struct remote_step){0};
		add(following->warming, &step, r, &err);
	}
}

/* Takes the next lines of the list. What is not there is told. */
static void take_paths(struct following *following)
{
	const uint64_t most = MIN(TOGETHER_BYTES, following->ahead / 2 + 1);
	AUTO_FREE char *line = NULL;
	uint64_t bytes = 0;
	size_t room = 0;
	ssize_t len;

	while (following->paths.count < TOGETHER && bytes < most && (len = getline(&line, &room, following->list)) > 0) {
		AUTO_FREE char *path = NULL;
		struct stat st;
		int code;

		line[len - (line[len - 1] == '\n')] = '\0';
		if (!*line)
			continue;
		path = *line == '/' ? xstrdup(line) : xasprintf("%s/%s", following->warming->place.path, line);
		code = stat(path, &st) < 0 ? errno : S_ISREG(st.st_mode) ? 0 : EINVAL;
		if (code) {
			fprintf(stderr, "corpusfs: %s: %s\n", path, code == EINVAL ? "it is no file" : strerror(code));
			following->warming->failed++;
			continue;
		}
		bytes += (uint64_t)st.st_size;
		array_add(&following->paths, steal_ptr(path));
	}
}

/* How much was read since it began. */
static int ask_read(struct following *following, uint64_t *ret_read, struct error *err)
{
	struct warm_state state;
	int r = warm_place_state(&following->warming->place, &state, err);

	if (r < 0)
		return r;
	/* Somebody mounted it anew. */
	following->read_before = MIN(following->read_before, state.read);
	*ret_read = state.read - following->read_before;
	return 0;
}

/* Until who reads is near enough, or does not move. */
static int wait_reader(struct following *following, struct error *err)
{
	uint64_t read = 0, last = 0, moved = clock_ms();
	int r = 0;

	while (r == 0 && following->warming->bytes > read + following->ahead && clock_ms() - moved < STILL_MS) {
		clock_pause_us(LOOK_US);
		r = interrupt_came() ? -ECANCELED : ask_read(following, &read, err);
		if (read != last)
			moved = clock_ms();
		last = read;
	}
	return r;
}

static int follow(struct following *following, struct error *err)
{
	struct warming *warming = following->warming;
	struct pool *pool = pool_new(THREADS);
	int r = 0;

	for (;;) {
		take_paths(following);
		if (following->paths.count == 0)
			break;
		pool_run(pool, bring_one, following, following->paths.count);
		while (following->paths.count > 0)
			free(array_pop(&following->paths));
		r = warming->result;
		if (r < 0 && err)
			*err = warming->err;
		if (r == 0)
			r = interrupt_came() ? -ECANCELED : wait_reader(following, err);
		if (r < 0)
			break;
	}
	array_clear(&following->paths);
	pool_free(pool);
	return r;
}

static int warm_in_order(struct cli *cli, struct warming *warming, const struct warm_state *state, struct error *err)
{
	const char *name = cli_option(cli, "follow-order"), *ahead = cli_option(cli, "ahead");
	struct following following = {.warming = warming, .ahead = MIN(AHEAD, state->limit / 2), .read_before = state->read};
	int r;

	if (ahead && units_parse_size(ahead, &following.ahead) < 0)
		return error_set(err, -EINVAL, "--ahead %s: that is not a size", ahead);
	following.list = strcmp(name, "-") == 0 ? stdin : fopen(name, "re");
	if (!following.list)
		return error_set(err, -errno, "%s: %s", name, strerror(errno));
	r = follow(&following, err);
	if (following.list != stdin)
		(void)fclose(following.list);
	return r;
}

/* --- the command --- */

#define STOPPED "nothing more is kept in the cache, whose disk failed or is full"

/* What was fetched goes to the cache without a word, and may not have been kept. NULL: it was. */
static const char *why_not_kept(const struct warming *warming, const struct warm_state *before, const struct warm_state *after)
{
	if (warming->pinned_missing > 0 && !after->stopped)
		return "something that is pinned is not in the cache: corpusfs status says how much";
	if (after->stopped)
		return STOPPED;
	if (warming->bytes > 0 && after->blobs == 0)
		return "nothing is in the cache";
	if (warming->bytes > after->limit && after->limit < before->limit)
		return "the disk of the cache is full, and what was fetched first is not in the cache any more";
	return NULL;
}

static int report(struct cli *cli, const struct warming *warming, const char *not_kept, uint64_t limit)
{
	const char *what = not_kept || warming->bytes > limit ? "were fetched" : cli_option(cli, "pin") ? "are in the cache, and stay" : "are in the cache";
	const double seconds = (double)(clock_ms() - warming->started_ms) / 1e3;
	char bytes[UNITS_MAX], rate[UNITS_MAX];

	units_size(warming->bytes, bytes);
	units_size((uint64_t)((double)warming->bytes / MAX(seconds, 0.001)), rate);
	if (cli_option(cli, "json")) {
		json_t *result = json_pack("{s:I, s:I, s:I, s:f}", "files", (json_int_t)warming->files, "bytes", (json_int_t)warming->bytes, "failed",
		                           (json_int_t)warming->failed, "seconds", seconds);

		json_print(result);
		json_decref(result);
	} else {
		say("%s of %llu files %s, after %.1f s (%s/s)\n", bytes, (unsigned long long)warming->files, what, seconds, rate);
	}
	fflush(stdout);
	if (not_kept)
		fprintf(stderr, "corpusfs: %s\n", not_kept);
	if (warming->failed == 0)
		return not_kept ? EXIT_FAILED : EXIT_OK;
	fprintf(stderr, "corpusfs: %llu files or pieces cannot be had%s\n", (unsigned long long)warming->failed,
	        warming->place.browsing ? "" : ": the log of the mount says why");
	return EXIT_FAILED;
}

static int warm(struct cli *cli, struct warming *warming)
{
	struct warm_state before = {0}, after = {0};
	struct error err = {0};
	int r = warm_place_state(&warming->place, &before, &err);

	interrupt_watch();
	if (r == 0 && before.stopped)
		r = error_set(&err, -EIO, "%s", STOPPED);
	if (r == 0)
		r = cli_option(cli, "follow-order") ? warm_in_order(cli, warming, &before, &err) : warm_all(warming, before.limit, cli_option(cli, "pin") != NULL, &err);
	if (r == 0)
		r = warm_place_state(&warming->place, &after, &err);
	progress_end(&warming->progress);
	/* Which may end the process. */
	if (r == -ECANCELED && warming->place.browsing)
		browsing_close(warming->place.browsing);
	if (r == -ECANCELED)
		interrupt_end_with("run the same command again to go on");
	return r < 0 ? exit_with(&err) : report(cli, warming, why_not_kept(warming, &before, &after), after.limit);
}

static struct warming warming_of(const struct warm_place *place)
{
	return (struct warming){.progress = progress_start("warm"), .place = *place, .started_ms = clock_ms(), .lock = PTHREAD_MUTEX_INITIALIZER};
}

static int check_pin(struct cli *cli, struct error *err)
{
	return cli_option(cli, "pin") && cli_option(cli, "follow-order")
	               ? error_set(err, -EINVAL, "--pin is for all that is below a path, and does not go with --follow-order") : 0;
}

int remote_warm(struct cli *cli, const char *path)
{
	const struct warm_place place = {.path = path};
	struct warming warming = warming_of(&place);
	struct error err = {0};

	return check_pin(cli, &err) < 0 ? exit_with(&err) : warm(cli, &warming);
}

int remote_warm_unmounted(struct cli *cli)
{
	CLEANUP(warm_remote_close) struct warm_remote remote = warm_remote_of(cli->argv[0]);
	struct warming warming;
	struct error err = {0};
	int r = 0;

	if (cli_option(cli, "follow-order") || cli_option(cli, "ahead"))
		r = error_set(&err, -EINVAL, "--follow-order and --ahead stay before who reads in a mount: name a path in one");
	if (r == 0)
		r = warm_remote_open(cli, &remote, &err);
	if (r < 0)
		return repository_exit(remote.options.name.place, &err, NULL);
	warming = warming_of(&remote.place);
	return warm(cli, &warming);
}
