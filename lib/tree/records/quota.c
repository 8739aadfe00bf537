/*
 * `used` follows every change of the view from the beginning on. Counting makes it absolute: under the epoch lock, which all changes hold
 * until they are noted, an iterator is made and `used` is remembered; then the walk adds up what the iterator sees, while others go on.
 */
#include "lib/tree/records/quota.h"

#include <errno.h>
#include <sys/stat.h>

#include "lib/base/clock.h"
#include "lib/tree/records/version.h"
#include "lib/tree/records/view_inside.h"

#define WAIT_OPEN_MS 1000     /* for who has it open, which may be nobody; a mount keeps what is replaced open for up to 400 ms */
#define WAIT_CLOSING_MS 10000 /* for a commit of what it holds */
#define WAIT_STEP_MS 20

static struct version_iter *begin_count(struct view *view, int64_t *ret_used)
{
	struct tree_key first = tree_prefix_family(view->family_id), end = tree_prefix_family(view->family_id + 1);
	struct version_iter *iter;

	rwlock_write(&view->epoch_lock);
	iter = version_iter_new(view->tree->kv, &view->line, &first, &end, KV_ITER_SCAN);
	mutex_take(&view->quota.lock);
	*ret_used = view->quota.used;
	mutex_give(&view->quota.lock);
	rwlock_give(&view->epoch_lock);
	return iter;
}

static int add_up(struct version_iter *iter, int64_t *ret_sum)
{
	struct inode_record record;
	int result = 0;

	*ret_sum = 0;
	while (result == 0 && version_iter_next(iter)) {
		size_t len;
		const uint8_t *value = version_iter_value(iter, &len);

		if (version_iter_parts(iter)->kind != KEY_INODE)
			continue;
		result = inode_record_decode(value, len, &record);
		if (result == 0 && S_ISREG(record.mode))
			*ret_sum += (int64_t)record.allocated;
	}
	if (result == 0)
		result = version_iter_status(iter);
	return result == -EBADMSG ? -EIO : result;
}

static int count(struct view *view)
{
	int64_t before, sum;
	struct version_iter *iter = begin_count(view, &before);
	int result = add_up(iter, &sum);

	version_iter_free(iter);
	if (result < 0)
		return result;
	mutex_take(&view->quota.lock);
	view->quota.used += sum - before;
	view->quota.is_counted = true;
	mutex_give(&view->quota.lock);
	return 0;
}

int quota_ready(struct view *view)
{
	struct quota *quota = &view->quota;
	bool is_mine;
	int result = 0;

	if (!quota_is_set(view))
		return 0;
	mutex_take(&quota->lock);
	while (quota->is_counting)
		mutex_wait(&quota->lock, &quota->changed);
	is_mine = quota->is_counting = !quota->is_counted;
	mutex_give(&quota->lock);
	if (!is_mine)
		return 0;
	result = count(view);
	mutex_take(&quota->lock);
	quota->is_counting = false;
	pthread_cond_broadcast(&quota->changed);
	mutex_give(&quota->lock);
	return result;
}

void quota_set(struct view *view, uint64_t limit)
{
	atomic_store(&view->quota.limit, limit);
}

bool quota_is_set(struct view *view)
{
	return atomic_load_explicit(&view->quota.limit, memory_order_relaxed) > 0;
}

/* The lock is held. */
static bool fits(const struct quota *quota, uint64_t bytes)
{
	uint64_t limit = atomic_load(&quota->limit), used = quota->used > 0 ? (uint64_t)quota->used : 0;

	return bytes == 0 || limit == 0 || !quota->is_counted || (used <= limit && quota->promised + bytes <= limit - used);
}

int quota_promise(struct view *view, uint64_t bytes)
{
	int result = 0;

	if (bytes == 0)
		return 0;
	mutex_take(&view->quota.lock);
	if (fits(&view->quota, bytes))
		view->quota.promised += bytes;
	else
		result = -EDQUOT;
	mutex_give(&view->quota.lock);
	return result;
}

void quota_promise_again(struct view *view, uint64_t bytes)
{
	mutex_take(&view->quota.lock);
	view->quota.promised += bytes;
	mutex_give(&view->quota.lock);
}

/* The lock is held. */
static void note_freed(struct quota *quota)
{
	quota->freed++;
	pthread_cond_broadcast(&quota->changed);
}

void quota_end(struct view *view, uint64_t bytes)
{
	if (bytes == 0)
		return;
	mutex_take(&view->quota.lock);
	view->quota.promised -= bytes;
	note_freed(&view->quota);
	mutex_give(&view->quota.lock);
}

int quota_check(struct view *view, uint64_t bytes)
{
	bool does_fit;

	mutex_take(&view->quota.lock);
	does_fit = fits(&view->quota, bytes);
	mutex_give(&view->quota.lock);
	return does_fit ? 0 : -EDQUOT;
}

void quota_change(struct view *view, int64_t bytes)
{
	if (bytes == 0)
		return;
	mutex_take(&view->quota.lock);
	view->quota.used += bytes;
	if (bytes < 0)
		note_freed(&view->quota);
	mutex_give(&view->quota.lock);
}

void quota_unnamed(struct view *view, int count)
{
	mutex_take(&view->quota.lock);
	view->quota.unnamed += (unsigned)count;
	mutex_give(&view->quota.lock);
}

void quota_closing(struct view *view, int count)
{
	mutex_take(&view->quota.lock);
	view->quota.closing += (unsigned)count;
	mutex_give(&view->quota.lock);
}

struct quota_patience quota_patience(struct view *view)
{
	return (struct quota_patience){.freed = atomic_load_explicit(&view->quota.freed, memory_order_relaxed)};
}

/* How long it is worth waiting in all. The lock is held. */
static uint64_t hope_ms(const struct quota *quota)
{
	return quota->closing > 0 ? WAIT_CLOSING_MS : quota->unnamed > 0 ? WAIT_OPEN_MS : 0;
}

bool quota_wait(struct view *view, struct quota_patience *patience)
{
	struct quota *quota = &view->quota;
	bool is_freed;

	if (patience->begun == 0)
		patience->begun = clock_ms();
	mutex_take(&quota->lock);
	while (quota->freed == patience->freed && clock_ms() - patience->begun < hope_ms(quota)) {
		const struct timespec step = clock_after_ms(WAIT_STEP_MS);
		mutex_wait_until(&quota->lock, &quota->changed, &step);
	}
	is_freed = quota->freed != patience->freed && clock_ms() - patience->begun < WAIT_CLOSING_MS;
	patience->freed = quota->freed;
	mutex_give(&quota->lock);
	return is_freed;
}

int quota_usage(struct view *view, uint64_t *ret_limit, uint64_t *ret_used)
{
	int result = quota_ready(view);

	if (result < 0)
		return result;
	mutex_take(&view->quota.lock);
	*ret_limit = atomic_load(&view->quota.limit);
	*ret_used = *ret_limit > 0 && view->quota.used > 0 ? (uint64_t)view->quota.used + view->quota.promised : 0;
	mutex_give(&view->quota.lock);
	return 0;
}
