/* Owners: what a variable declared with one of these owns is released at the end of its scope, unless steal_ptr() hands it over. */
#ifndef CORPUSFS_BASE_CLEAN_H
#define CORPUSFS_BASE_CLEAN_H

#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define WARN_UNUSED __attribute__((warn_unused_result))
#define PRINTF_LIKE(text, first) __attribute__((format(printf, text, first)))
#define CLEANUP(function) __attribute__((cleanup(function)))

static inline void clean_free(void *pointer)
{
	free(*(void **)pointer);
}

/* A password or the like does not stay behind in memory. */
static inline void free_secret(char *text)
{
	if (text)
		explicit_bzero(text, strlen(text));
	free(text);
}

static inline void clean_secret(char **text)
{
	free_secret(*text);
}

static inline void clean_close(const int *fd)
{
	if (*fd >= 0)
		close(*fd);
}

static inline void clean_unlock(pthread_mutex_t **mutex)
{
	if (*mutex)
		pthread_mutex_unlock(*mutex);
}

#define AUTO_FREE CLEANUP(clean_free)
#define AUTO_SECRET CLEANUP(clean_secret)
#define AUTO_CLOSE CLEANUP(clean_close)

/* Returns the pointer and leaves NULL behind: whoever takes the value owns it now. */
#define steal_ptr(pointer)                     \
	({                                     \
		__auto_type stolen_ = pointer; \
		pointer = NULL;                \
		stolen_;                       \
	})

#define ARRAY_SIZE(array) (sizeof(array) / sizeof((array)[0]))
/* One of the two is evaluated twice: nothing there may change anything. */
#define MIN(a, b) ((a) < (b) ? (a) : (b))
#define MAX(a, b) ((a) > (b) ? (a) : (b))

#endif
