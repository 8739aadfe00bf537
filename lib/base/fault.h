/*
 * Named fault points: places where a test asks the process to die or to fail, so that "killed in the middle" is a repeatable test.
 *
 * $CORPUSFS_FAULT = NAME[:ACTION[:NTH]][,NAME...]. ACTION is kill (default; SIGKILL to oneself), abort (a crash), stop (SIGSTOP: the test
 * acts meanwhile, and sends SIGCONT), an errno name among enospc, eio, enomem, or sleepMS (e.g. sleep500). NTH counts passes from 1
 * (default: the first). Without the variable a point costs one load of a flag.
 * Any thread; the variable is read once. All points stand in lib/base/fault_points.h. A build with -Dfaults=false has none.
 *
 * $CORPUSFS_FAULT_QUICK_KEYS = 1: what is slow so that passwords cannot be tried fast is quick, for tests, which open thousands of repositories.
 */
#ifndef CORPUSFS_BASE_FAULT_H
#define CORPUSFS_BASE_FAULT_H

#include <stdbool.h>

#ifdef FAULT_POINTS_OFF
static inline int fault_point(const char *name)
{
	return 0;
}

static inline unsigned long fault_passes(const char *name)
{
	return 0;
}

static inline bool fault_quick_keys(void)
{
	return false;
}
#else
/* 0, or the negative errno the test asked for; does not return when the test asked for a kill. */
int fault_point(const char *name);

/* How often a point that $CORPUSFS_FAULT names was passed. For tests that wait until a thread of theirs is there; it may still be about to act. */
unsigned long fault_passes(const char *name);

bool fault_quick_keys(void);
#endif

#endif
