/*
 * A fuzz target: a source fuzz_TARGET.c with this function, which must neither crash nor run for long nor leak, whatever it is given.
 * libFuzzer calls it (tests/fuzz/run), and so does replay.c for the files of corpus/TARGET/.
 */
#ifndef CORPUSFS_TEST_FUZZ_TARGET_H
#define CORPUSFS_TEST_FUZZ_TARGET_H

#include <stddef.h>
#include <stdint.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#endif
