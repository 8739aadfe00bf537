/* Makes the data that the rows read and copy. */
#include "tests/bench/driver/driver.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define PATH 4096
#define IMAGE_MEAN 110000
#define IMAGE_LARGEST 1000000
#define LINE_LARGEST 65536
#define STRIPE 4096 /* of a shard: random bytes and text by turns */
#define IN_DIRECTORY 1000

static void make_directory(const char *path)
{
	if (mkdir(path, 0755) < 0 && errno != EEXIST)
		fail("mkdir", path);
}

static int create(const char *path)
{
	int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);

	if (fd < 0)
		fail("create", path);
	return fd;
}

static void create_with(const char *path, const void *bytes, size_t len)
{
	int fd = create(path);

	write_all(fd, bytes, len, path);
	if (close(fd) < 0)
		fail("close", path);
}

static void images(char **arguments)
{
	uint64_t count = number(arguments[1]);
	struct random r = { 1 };
	char path[PATH], *bytes = malloc(IMAGE_LARGEST);

	make_directory(arguments[0]);
	for (uint64_t i = 0; bytes && i < count; i++) {
		uint64_t len = random_lognormal(&r, IMAGE_MEAN, 0.5);

		len = len < IMAGE_LARGEST ? len : IMAGE_LARGEST;
		random_fill(&r, bytes, len);
		snprintf(path, sizeof(path), "%s/%02u", arguments[0], (unsigned)(i * 100 / count));
		make_directory(path);
		snprintf(path, sizeof(path), "%s/%02u/%06u.jpg", arguments[0], (unsigned)(i * 100 / count), (unsigned)i);
		create_with(path, bytes, len);
	}
	free(bytes);
}

static void fill_half(const struct text *text, struct random *r, char *bytes, size_t len)
{
	for (size_t at = 0; at < len; at += 2 * STRIPE) {
		random_fill(r, bytes + at, STRIPE);
		text_fill(text, r, bytes + at + STRIPE, STRIPE);
	}
}

static void shards(char **arguments)
{
	uint64_t count = number(arguments[1]), size = number(arguments[2]);
	size_t part = 1 << 20;
	struct text *text = text_new();
	struct random r = { 2 };
	char path[PATH], *bytes = malloc(part);

	make_directory(arguments[0]);
	for (uint64_t i = 0; bytes && i < count; i++) {
		snprintf(path, sizeof(path), "%s/shard-%02u.tar", arguments[0], (unsigned)i);
		int fd = create(path);

		for (uint64_t at = 0; at < size; at += part) {
			fill_half(text, &r, bytes, part);
			write_all(fd, bytes, part, path);
		}
		close(fd);
	}
	free(bytes);
	free(text);
}

/* One document a line, as long as those of web corpora: 2.2 KB on average. */
static size_t make_line(const struct text *text, struct random *r, uint64_t id, char *line)
{
	uint64_t len = random_lognormal(r, 2100, 0.8);
	size_t at = (size_t)snprintf(line, LINE_LARGEST, "{\"id\": %llu, \"url\": \"https://%s.%s/%s\", \"text\": \"", (unsigned long long)id,
	                             text_word(text, r), text_word(text, r), text_word(text, r));

	len = len < LINE_LARGEST / 2 ? len : LINE_LARGEST / 2;
	text_fill(text, r, line + at, len);
	at += len;
	memcpy(line + at, "\"}\n", 3);
	return at + 3;
}

/* Of the second version's lines 1% have a word changed, 0.5% are new, 0.5% are missing. */
static void lines(char **arguments)
{
	uint64_t size = number(arguments[2]), id = 0;
	struct text *text = text_new();
	struct random r = { 3 }, edits = { 4 };
	char path[PATH], *line = malloc(LINE_LARGEST);
	FILE *out[2];

	for (int i = 0; i < 2; i++) {
		make_directory(arguments[i]);
		snprintf(path, sizeof(path), "%s/train.jsonl", arguments[i]);
		out[i] = fopen(path, "we");
		if (!out[i])
			fail("create", path);
	}
	for (uint64_t done = 0; line && done < size; id++) {
		unsigned edit = (unsigned)(random_next(&edits) % 200);
		size_t len = make_line(text, &r, id, line);

		fwrite(line, 1, len, out[0]);
		done += len;
		if (edit < 2)
			text_fill(text, &edits, line + len / 2, 8);
		if (edit != 2)
			fwrite(line, 1, len, out[1]);
		if (edit == 3)
			fwrite(line, 1, make_line(text, &edits, id, line), out[1]);
	}
	if (fclose(out[0]) || fclose(out[1]))
		fail("write", path);
	free(line);
	free(text);
}

/* fill DIRECTORY COUNT SIZE SEED: small text files, a thousand in each directory */
static void fill(char **arguments)
{
	uint64_t count = number(arguments[1]), size = number(arguments[2]);
	struct text *text = text_new();
	struct random r = { number(arguments[3]) };
	char path[PATH], *bytes = malloc(size + 1);
	double start = now();

	make_directory(arguments[0]);
	for (uint64_t i = 0; bytes && i < count; i++) {
		text_fill(text, &r, bytes, size);
		if (i % IN_DIRECTORY == 0) {
			snprintf(path, sizeof(path), "%s/%04u", arguments[0], (unsigned)(i / IN_DIRECTORY));
			make_directory(path);
		}
		snprintf(path, sizeof(path), "%s/%04u/%07u.json", arguments[0], (unsigned)(i / IN_DIRECTORY), (unsigned)i);
		create_with(path, bytes, size);
	}
	print_result(now() - start, count, count * size);
	free(bytes);
	free(text);
}

static void tar_header(char block[512], const char *name, uint64_t size)
{
	unsigned sum = 0;

	memset(block, 0, 512);
	snprintf(block, 100, "%s", name);
	snprintf(block + 100, 8, "%07o", 0644u);
	snprintf(block + 108, 8, "%07o", 0u);
	snprintf(block + 116, 8, "%07o", 0u);
	snprintf(block + 124, 12, "%011llo", (unsigned long long)size);
	snprintf(block + 136, 12, "%011o", 1700000000u);
	memset(block + 148, ' ', 8);
	block[156] = '0';
	memcpy(block + 257, "ustar\00000", 8);
	for (int i = 0; i < 512; i++)
		sum += (unsigned char)block[i];
	snprintf(block + 148, 8, "%06o", sum);
}

/* The files of fill as a tar on standard output. */
static void tar(char **arguments)
{
	uint64_t count = number(arguments[0]), size = number(arguments[1]), padded = (size + 511) / 512 * 512;
	struct text *text = text_new();
	struct random r = { number(arguments[2]) };
	char name[64], header[512], *bytes = calloc(1, padded + 1024);

	for (uint64_t i = 0; bytes && i < count; i++) {
		text_fill(text, &r, bytes, size);
		snprintf(name, sizeof(name), "%04u/%07u.json", (unsigned)(i / IN_DIRECTORY), (unsigned)i);
		tar_header(header, name, size);
		if (fwrite(header, 512, 1, stdout) != 1 || fwrite(bytes, 1, padded, stdout) != padded)
			fail("write", "standard output");
	}
	if (bytes)
		memset(bytes, 0, 1024);
	if (bytes && fwrite(bytes, 1024, 1, stdout) != 1)
		fail("write", "standard output");
	free(bytes);
	free(text);
}

/* write FILE SIZE BLOCK: no two blocks are equal, half of each can be compressed */
static void write_blocks(char **arguments)
{
	uint64_t size = number(arguments[1]), block = number(arguments[2]);
	size_t pool = 8 << 20;
	struct text *text = text_new();
	struct random r = { 5 };
	char *bytes = malloc(pool);
	double start;

	if (!bytes)
		fail("no memory", arguments[0]);
	fill_half(text, &r, bytes, pool);
	start = now();
	int fd = create(arguments[0]);

	for (uint64_t at = 0; at < size; at += block) {
		char *from = bytes + at % pool;

		random_fill(&r, from + (at / pool * 64) % (block - 64), 64);
		write_all(fd, from, block, arguments[0]);
	}
	if (close(fd) < 0)
		fail("close", arguments[0]);
	print_result(now() - start, size / block, size);
	free(bytes);
	free(text);
}

const struct command make_commands[] = {
	{ "images", "DIRECTORY COUNT", 2, images },
	{ "shards", "DIRECTORY COUNT SIZE", 3, shards },
	{ "lines", "DIRECTORY DIRECTORY2 SIZE", 3, lines },
	{ "fill", "DIRECTORY COUNT SIZE SEED", 4, fill },
	{ "tar", "COUNT SIZE SEED", 3, tar },
	{ "write", "FILE SIZE BLOCK", 3, write_blocks },
	{ 0 },
};
