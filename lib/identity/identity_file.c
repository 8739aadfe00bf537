/* The SHA-256 of one file's bytes, as people ask for it. */
#include <errno.h>
#include <string.h>
#include <sys/stat.h>

#include "lib/identity/identity.h"
#include "lib/identity/node.h"
#include "lib/store/digests.h"
#include "lib/tree/records/readers.h"

#define HEAD_TRIES 3

static int keep_digest(struct node_source *source, uint64_t ino, const struct node *node)
{
	struct kv_batch *batch = kv_batch_new();

	digests_put(batch, source->scan.family, ino, node->epoch, &node->digest);
	int result = kv_write(source->store->kv, batch, 0);
	kv_batch_free(batch);
	/* The answer is right also where it cannot be kept. */
	return result == -ENOSPC || result == -EROFS ? 0 : result;
}

/* As the line sees the file; of a snapshot what was computed is kept. */
static int file_sha256(struct node_source *source, const struct scan_inode *inode, bool keep, uint8_t ret_sha256[IDENTITY_LEN])
{
	struct digests *digests = digests_new(source->store->kv, source->scan.family, &source->scan.line);
	struct digest_record old;
	struct node node;
	uint64_t epoch;
	int result = digests_newest(digests, inode->ino, &old, &epoch);
	bool have = result == 0, is_new;
	unsigned turn;

	digests_free(digests);
	if (result == 0 || result == -ENOENT)
		result = node_compute(source, inode->ino, have ? &old : NULL, epoch, 0, &node);
	if (result < 0)
		return result;
	is_new = !have || epoch != node.epoch;
	if (node.digest.is_sparse && !node.digest.has_sha256) {
		turn = readers_enter(source->scan.tree);
		result = file_content_sha256(source, inode, node.digest.sha256);
		readers_leave(source->scan.tree, turn);
		node.digest.has_sha256 = is_new = result == 0;
	}
	if (result == 0)
		memcpy(ret_sha256, node.digest.is_sparse ? node.digest.sha256 : node.digest.content, IDENTITY_LEN);
	return result == 0 && keep && is_new ? keep_digest(source, inode->ino, &node) : result;
}

static bool is_equal(const struct buf *a, const struct buf *b)
{
	return a->len == b->len && memcmp(a->data, b->data, a->len) == 0;
}

/* The caller has the view, so a snapshot stays. -EAGAIN: the file of a head was written to meanwhile. */
static int once(struct store *store, struct view *view, uint64_t ino, bool (*cancelled)(void *arg), void *arg, uint8_t *ret_sha256)
{
	struct node_source source = {.store = store, .cancelled = cancelled, .arg = arg};
	struct scan_inode before = {0}, after = {0};
	struct timespec taken;
	struct scan now;
	bool is_snapshot = snapshot_taken(store, view_number(view), &taken) == 0;
	int result, again = 0;

	scan_of_view(&now, view);
	scan_of_line(&source.scan, now.tree, now.family, &now.line);
	result = scan_inode(&source.scan, ino, &before);
	if (result == 0 && !S_ISREG(before.record.mode))
		result = -ENODATA;
	if (result == 0)
		result = file_sha256(&source, &before, is_snapshot, ret_sha256);
	if (!is_snapshot && result != -ECANCELED && result != -ENODATA && result != -ENOENT) {
		again = scan_inode(&now, ino, &after);
		if (again == 0 && !is_equal(&before.value, &after.value))
			again = -EAGAIN;
	}
	scan_inode_clear(&before);
	scan_inode_clear(&after);
	scan_clear(&source.scan);
	scan_clear(&now);
	return again < 0 ? again : result;
}

int identity_file(struct store *store, struct view *view, uint64_t ino, bool (*cancelled)(void *arg), void *arg,
		  uint8_t ret_sha256[IDENTITY_LEN])
{
	uint8_t sha256[IDENTITY_LEN];
	struct inode *inode;
	int result = inode_open(view, ino, &inode);

	if (result < 0)
		return result;
	for (unsigned i = 0; i < HEAD_TRIES; i++) {
		result = view_read_only(view) ? 0 : inode_commit(inode);
		if (result == 0)
			result = once(store, view, ino, cancelled, arg, sha256);
		if (result != -EAGAIN)
			break;
	}
	inode_close(inode);
	if (result == 0)
		memcpy(ret_sha256, sha256, IDENTITY_LEN);
	return result == -ENOENT ? -ESTALE : result;
}
