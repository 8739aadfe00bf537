/*
 * The inner loops of the bench, in C so that no interpreter's time is counted.
 *
 *   driver COMMAND ARGUMENTS...      prints one line of JSON; exit code 1 and one line on standard error when anything fails
 *
 * Everything random comes from a seed: the same arguments make the same bytes and the same order on every machine.
 */
#ifndef TESTS_BENCH_DRIVER_H
#define TESTS_BENCH_DRIVER_H

#include <stddef.h>
#include <stdint.h>

struct command {
	const char *name;
	const char *arguments;
	int count; /* of arguments */
	void (*run)(char **arguments);
};

extern const struct command make_commands[], file_commands[], name_commands[];

/* Ends the program. */
void fail(const char *what, const char *path) __attribute__((noreturn));
uint64_t number(const char *text);
double now(void); /* seconds */
void print_result(double seconds, uint64_t ops, uint64_t bytes);

/* Writes all of it, or fails. */
void write_all(int fd, const void *bytes, size_t len, const char *path);

/* splitmix64 */
struct random {
	uint64_t state;
};

uint64_t random_next(struct random *r);
double random_unit(struct random *r); /* [0, 1) */
void random_fill(struct random *r, void *bytes, size_t len);
uint64_t random_lognormal(struct random *r, double mean, double sigma);

/* Words of an invented language, as frequent as Zipf says. */
struct text;
struct text *text_new(void);
void text_fill(const struct text *text, struct random *r, char *bytes, size_t len);
const char *text_word(const struct text *text, struct random *r);

/* The paths in a file, one a line, each below root; shuffled when seed is not 0. */
struct list {
	char **paths;
	size_t count;
};

void list_load(struct list *list, const char *root, const char *file, uint64_t seed);

/* Runs work(slot, of, argument) in `of` processes that start together; returns the seconds until the last has ended. work returns the
 * bytes it handled; *ret_bytes is their sum. */
double in_processes(unsigned of, uint64_t (*work)(unsigned slot, unsigned of, void *argument), void *argument, uint64_t *ret_bytes);

#endif
