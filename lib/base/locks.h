/*
 * Mutexes and reader-writer locks that have a place in the one order of locks (lock_order.h), where builds with debug information check
 * it. In release builds they are those of pthreads and nothing else.
 */
#ifndef CORPUSFS_BASE_LOCKS_H
#define CORPUSFS_BASE_LOCKS_H

#include <errno.h>
#include <pthread.h>

#include "lib/base/lock_order.h"

#ifdef LOCK_ORDER_CHECKED
#define LOCK_ORDER_MEMBER struct lock_mark mark;
#define LOCK_ORDER_DO(...) __VA_ARGS__
#else
#define LOCK_ORDER_MEMBER
#define LOCK_ORDER_DO(...) ((void)0)
#endif

struct mutex {
	pthread_mutex_t pthread;
	LOCK_ORDER_MEMBER
};

struct rwlock {
	pthread_rwlock_t pthread;
	LOCK_ORDER_MEMBER
};

/* --- mutexes --- */

static inline void mutex_init_keyed(struct mutex *mutex, enum lock_rank rank, uint64_t major, uint64_t minor)
{
	pthread_mutex_init(&mutex->pthread, NULL);
	LOCK_ORDER_DO((mutex->mark = (struct lock_mark){rank, major, minor}));
}

static inline void mutex_init(struct mutex *mutex, enum lock_rank rank)
{
	mutex_init_keyed(mutex, rank, 0, 0);
}

static inline void mutex_clear(struct mutex *mutex)
{
	pthread_mutex_destroy(&mutex->pthread);
}

#define mutex_take(mutex) mutex_take_in(mutex, __func__)
static inline void mutex_take_in(struct mutex *mutex, const char *where)
{
	LOCK_ORDER_DO(lock_order_check(&mutex->mark, where));
	pthread_mutex_lock(&mutex->pthread);
	LOCK_ORDER_DO(lock_order_taken(&mutex->mark, where));
}

/* Waits for nobody, so any order will do. */
#define mutex_try(mutex) mutex_try_in(mutex, __func__)
static inline bool mutex_try_in(struct mutex *mutex, const char *where)
{
	if (pthread_mutex_trylock(&mutex->pthread) != 0)
		return false;
	LOCK_ORDER_DO(lock_order_taken(&mutex->mark, where));
	return true;
}

static inline void mutex_give(struct mutex *mutex)
{
	LOCK_ORDER_DO(lock_order_given(&mutex->mark));
	pthread_mutex_unlock(&mutex->pthread);
}

#define mutex_wait(mutex, condition) mutex_wait_in(mutex, condition, __func__)
static inline void mutex_wait_in(struct mutex *mutex, pthread_cond_t *condition, const char *where)
{
	LOCK_ORDER_DO(lock_order_check_wait(&mutex->mark, where));
	pthread_cond_wait(condition, &mutex->pthread);
}

/* Until a time of CLOCK_MONOTONIC (clock_after_ms); false when it is over. */
#define mutex_wait_until(mutex, condition, time) mutex_wait_until_in(mutex, condition, time, __func__)
static inline bool mutex_wait_until_in(struct mutex *mutex, pthread_cond_t *condition, const struct timespec *time, const char *where)
{
	LOCK_ORDER_DO(lock_order_check_wait(&mutex->mark, where));
	return pthread_cond_clockwait(condition, &mutex->pthread, CLOCK_MONOTONIC, time) != ETIMEDOUT;
}

/* --- reader-writer locks: a writer who waits keeps new readers out, so no thread may read twice --- */

static inline void rwlock_init_keyed(struct rwlock *lock, enum lock_rank rank, uint64_t major, uint64_t minor)
{
	pthread_rwlockattr_t attributes;

	pthread_rwlockattr_init(&attributes);
	pthread_rwlockattr_setkind_np(&attributes, PTHREAD_RWLOCK_PREFER_WRITER_NONRECURSIVE_NP);
	pthread_rwlock_init(&lock->pthread, &attributes);
	pthread_rwlockattr_destroy(&attributes);
	LOCK_ORDER_DO((lock->mark = (struct lock_mark){rank, major, minor}));
}

static inline void rwlock_init(struct rwlock *lock, enum lock_rank rank)
{
	rwlock_init_keyed(lock, rank, 0, 0);
}

static inline void rwlock_clear(struct rwlock *lock)
{
	pthread_rwlock_destroy(&lock->pthread);
}

#define rwlock_read(lock) rwlock_read_in(lock, __func__)
static inline void rwlock_read_in(struct rwlock *lock, const char *where)
{
	LOCK_ORDER_DO(lock_order_check(&lock->mark, where));
	pthread_rwlock_rdlock(&lock->pthread);
	LOCK_ORDER_DO(lock_order_taken(&lock->mark, where));
}

#define rwlock_write(lock) rwlock_write_in(lock, __func__)
static inline void rwlock_write_in(struct rwlock *lock, const char *where)
{
	LOCK_ORDER_DO(lock_order_check(&lock->mark, where));
	pthread_rwlock_wrlock(&lock->pthread);
	LOCK_ORDER_DO(lock_order_taken(&lock->mark, where));
}

static inline void rwlock_give(struct rwlock *lock)
{
	LOCK_ORDER_DO(lock_order_given(&lock->mark));
	pthread_rwlock_unlock(&lock->pthread);
}

#endif
