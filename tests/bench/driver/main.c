#include "tests/bench/driver/driver.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define WORDS 20000
#define WORD_SIZE 16
#define RANKS 65536

struct text {
	char words[WORDS][WORD_SIZE];
	uint16_t ranks[RANKS]; /* a word, as often as its frequency */
};

void fail(const char *what, const char *path)
{
	fprintf(stderr, "driver: %s: %s%s%s\n", path, what, errno ? ": " : "", errno ? strerror(errno) : "");
	exit(1);
}

uint64_t number(const char *text)
{
	char *end;
	uint64_t value = strtoull(text, &end, 10);

	errno = 0;
	if (!*text || *end)
		fail("is not a number", text);
	return value;
}

double now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

void print_result(double seconds, uint64_t ops, uint64_t bytes)
{
	printf("{\"seconds\": %.6f, \"ops\": %llu, \"bytes\": %llu}\n", seconds, (unsigned long long)ops, (unsigned long long)bytes);
}

void write_all(int fd, const void *bytes, size_t len, const char *path)
{
	const char *at = bytes;

	while (len > 0) {
		ssize_t n = write(fd, at, len);

		if (n <= 0)
			fail("write", path);
		at += n;
		len -= (size_t)n;
	}
}

uint64_t random_next(struct random *r)
{
	uint64_t z = r->state += 0x9e3779b97f4a7c15;

	z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9;
	z = (z ^ (z >> 27)) * 0x94d049bb133111eb;
	return z ^ (z >> 31);
}

double random_unit(struct random *r)
{
	return (double)(random_next(r) >> 11) * 0x1p-53;
}

void random_fill(struct random *r, void *bytes, size_t len)
{
	char *at = bytes;

	for (; len > 0; at += 8) {
		uint64_t value = random_next(r);
		size_t n = len < 8 ? len : 8;

		memcpy(at, &value, n);
		len -= n;
		if (n < 8)
			break;
	}
}

uint64_t random_lognormal(struct random *r, double mean, double sigma)
{
	double normal = -6;

	for (int i = 0; i < 12; i++)
		normal += random_unit(r);
	return (uint64_t)(mean * exp(sigma * normal - sigma * sigma / 2));
}

static void make_word(char *word, unsigned rank, struct random *r)
{
	unsigned len = rank < 50 ? 2 + rank % 2 : 4 + (unsigned)(random_next(r) % 7);

	for (unsigned i = 0; i < len; i++)
		word[i] = i % 2 ? "aeiou"[random_next(r) % 5] : "bcdfghjklmnprstvwyz"[random_next(r) % 19];
	word[len] = '\0';
}

struct text *text_new(void)
{
	struct text *text = calloc(1, sizeof(*text));
	struct random r = { 11 };
	uint64_t sum = 0, all = 0;

	if (!text)
		fail("no memory", "text");
	for (unsigned i = 0; i < WORDS; i++) {
		make_word(text->words[i], i, &r);
		all += 1000000000000 / (i + 1);
	}
	for (unsigned i = 0, slot = 0; i < WORDS; i++) {
		sum += 1000000000000 / (i + 1);
		for (; slot < RANKS && (uint64_t)slot * (all / RANKS) < sum; slot++)
			text->ranks[slot] = (uint16_t)i;
	}
	return text;
}

/* Each slot of rare words stands for all that are about as rare. */
const char *text_word(const struct text *text, struct random *r)
{
	uint64_t value = random_next(r);
	unsigned rank = text->ranks[value % RANKS];

	if (rank > 1000)
		rank += (unsigned)(value >> 32) % (rank / 16);
	return text->words[rank < WORDS ? rank : WORDS - 1];
}

void text_fill(const struct text *text, struct random *r, char *bytes, size_t len)
{
	while (len > 0) {
		const char *word = text_word(text, r);
		size_t n = strlen(word);

		n = n < len ? n : len;
		memcpy(bytes, word, n);
		bytes += n;
		len -= n;
		if (len > 0) {
			*bytes++ = ' ';
			len--;
		}
	}
}

void list_load(struct list *list, const char *root, const char *file, uint64_t seed)
{
	struct random r = { seed };
	char *line = NULL;
	size_t space = 0, room = 0;
	ssize_t len;
	FILE *in = fopen(file, "re");

	if (!in)
		fail("open", file);
	*list = (struct list){ 0 };
	while ((len = getline(&line, &space, in)) > 0) {
		line[len - 1] = '\0';
		if (list->count == room) {
			room = room ? room * 2 : 1024;
			list->paths = realloc(list->paths, room * sizeof(*list->paths));
		}
		if (!list->paths || asprintf(&list->paths[list->count++], "%s/%s", root, line) < 0)
			fail("no memory", file);
	}
	free(line);
	fclose(in);
	for (size_t i = list->count; seed && i > 1; i--) {
		size_t other = random_next(&r) % i;
		char *path = list->paths[i - 1];

		list->paths[i - 1] = list->paths[other];
		list->paths[other] = path;
	}
}

double in_processes(unsigned of, uint64_t (*work)(unsigned slot, unsigned of, void *argument), void *argument, uint64_t *ret_bytes)
{
	uint64_t *bytes = mmap(NULL, of * sizeof(*bytes), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	int begin[2], status;
	double start;

	if (bytes == MAP_FAILED || pipe(begin) < 0)
		fail("cannot prepare", "processes");
	for (unsigned slot = 0; slot < of; slot++) {
		pid_t pid = fork();
		char byte;

		if (pid < 0)
			fail("fork", "processes");
		if (pid == 0) {
			close(begin[1]);
			if (read(begin[0], &byte, 1) != 0)
				_exit(1);
			bytes[slot] = work(slot, of, argument);
			_exit(0);
		}
	}
	close(begin[0]);
	start = now();
	close(begin[1]);
	for (unsigned slot = 0; slot < of; slot++) {
		if (wait(&status) < 0 || status != 0) {
			errno = 0;
			fail("a process failed", "processes");
		}
	}
	start = now() - start;
	*ret_bytes = 0;
	for (unsigned slot = 0; slot < of; slot++)
		*ret_bytes += bytes[slot];
	munmap(bytes, of * sizeof(*bytes));
	return start;
}

int main(int argc, char **argv)
{
	const struct command *tables[] = { make_commands, file_commands, name_commands };

	for (size_t i = 0; i < sizeof(tables) / sizeof(tables[0]); i++) {
		for (const struct command *c = tables[i]; c->name; c++) {
			if (argc == c->count + 2 && strcmp(argv[1], c->name) == 0) {
				c->run(argv + 2);
				return 0;
			}
		}
	}
	for (size_t i = 0; i < sizeof(tables) / sizeof(tables[0]); i++)
		for (const struct command *c = tables[i]; c->name; c++)
			fprintf(stderr, "driver %s %s\n", c->name, c->arguments);
	return 2;
}
