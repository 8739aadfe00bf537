/*
 * Feeds a fuzz target the files of its corpus, in order of their names, each whole and then changed a little some times, always in the same
 * way. So what a fuzzer once found is tried with any compiler.
 *
 *   replay_TARGET CHANGES DIRECTORY...
 */
#include <dirent.h>
#include <stdio.h>
#include <string.h>

#include "lib/base/buf.h"
#include "lib/base/file.h"
#include "tests/fuzz/target.h"

static uint64_t next_random(uint64_t *random)
{
	*random ^= *random << 13;
	*random ^= *random >> 7;
	*random ^= *random << 17;
	return *random;
}

static void change(struct buf *input, uint64_t *random)
{
	static const uint8_t telling[] = {0, 1, 2, 0x7f, 0x80, 0xff};
	size_t at = next_random(random) % (input->len + 1);

	if (at == input->len) {
		buf_add_u8(input, (uint8_t)next_random(random));
		return;
	}
	switch (next_random(random) % 4) {
	case 0: input->data[at] ^= (uint8_t)(1U << next_random(random) % 8); break;
	case 1: input->data[at] = telling[next_random(random) % sizeof(telling)]; break;
	case 2: input->len = at; break;
	default:
		memmove(input->data + at, input->data + at + 1, input->len - at - 1);
		input->len--;
		break;
	}
}

static void feed(const uint8_t *data, size_t len)
{
	/* A copy of the exact size lets a sanitizer see a read of one byte too many. */
	AUTO_FREE uint8_t *copy = xmalloc(len);

	if (len > 0)
		memcpy(copy, data, len);
	LLVMFuzzerTestOneInput(copy, len);
}

static int replay(const char *path, unsigned long changes)
{
	AUTO_BUF content = BUF_INIT, changed = BUF_INIT;
	uint64_t random = 0x9e3779b97f4a7c15;
	int result = file_read(path, 1U << 24, &content);

	if (result < 0) {
		fprintf(stderr, "%s: %s\n", path, strerror(-result));
		return 1;
	}
	feed(content.data, content.len);
	for (unsigned long i = 0; i < changes; i++) {
		buf_reset(&changed);
		buf_add(&changed, content.data, content.len);
		for (uint64_t count = 1 + next_random(&random) % 3; count > 0; count--)
			change(&changed, &random);
		feed(changed.data, changed.len);
	}
	return 0;
}

int main(int argc, char **argv)
{
	unsigned long changes = argc > 1 ? strtoul(argv[1], NULL, 10) : 0, files = 0;
	int failed = 0;

	for (int i = 2; i < argc; i++) {
		struct dirent **entries = NULL;
		int count = scandir(argv[i], &entries, NULL, alphasort);
		for (int j = 0; j < count; j++) {
			AUTO_FREE char *path = xasprintf("%s/%s", argv[i], entries[j]->d_name);
			if (entries[j]->d_name[0] != '.') {
				failed |= replay(path, changes);
				files++;
			}
			free(entries[j]);
		}
		free(entries);
	}
	printf("%lu files\n", files);
	return failed || files == 0;
}
