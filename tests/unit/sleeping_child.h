/* A process that does nothing until it is killed. */
#ifndef CORPUSFS_TESTS_SLEEPING_CHILD_H
#define CORPUSFS_TESTS_SLEEPING_CHILD_H

#include <unistd.h>

static inline pid_t sleeping_child(void)
{
	pid_t pid = fork();

	if (pid == 0)
		for (;;)
			pause();
	assert_true(pid > 0);
	return pid;
}

#endif
