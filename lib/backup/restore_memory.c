#include <errno.h>
#include <sys/stat.h>

#include "lib/backup/restore.h"
#include "lib/backup/restore_source.h"
#include "lib/identity/tree_digest.h"

#define TELL_BYTES (1U << 20)
#define TELL_MEMBERS 100U

struct proof {
	struct restore restore;
	struct transfer transfer;
	struct archive_source members;
	struct tree_digest *tree;
	uint64_t told, members_told; /* bytes and members, since progress was told for the last time */
};

static void tell(struct proof *proof, uint64_t bytes, uint64_t members)
{
	proof->told += bytes;
	proof->members_told += members;
	if (proof->told < TELL_BYTES && proof->members_told < TELL_MEMBERS)
		return;
	proof->told = proof->members_told = 0;
	transfer_tell(&proof->transfer, "check");
}

static int read_content(struct proof *proof, uint64_t size)
{
	uint64_t at = 0, offset;
	const void *data;
	size_t len;
	int r;

	while ((r = proof->members.data(proof->members.arg, &data, &len, &offset)) == 1) {
		tree_digest_zeros(proof->tree, offset - at);
		tree_digest_data(proof->tree, data, len);
		at = offset + len;
		atomic_fetch_add(&proof->transfer.bytes, len);
		tell(proof, len, 0);
		if (transfer_stopped(&proof->transfer))
			return -ECANCELED;
	}
	if (r == 0)
		tree_digest_zeros(proof->tree, size - at);
	return r;
}

static int add_member(struct proof *proof, const struct archive_found *found)
{
	const struct archive_member *member = &found->member;
	const struct node *node = restore_source_node(proof->restore.source);
	const bool is_root = strcmp(member->path, ".") == 0;
	const struct tree_member added = {.path = is_root ? "" : member->path, .mode = member->mode, .size = member->size, .rdev = member->rdev,
	                                  .target = member->target ? member->target : "", .first = member->hardlink,
	                                  .has_others = !S_ISDIR(member->mode) && node->links > 1};
	int r = tree_digest_member(proof->tree, &added);

	if (r < 0)
		return r;
	if (S_ISDIR(member->mode))
		atomic_fetch_add(&proof->transfer.directories, 1);
	else
		atomic_fetch_add(member->hardlink ? &proof->transfer.links : &proof->transfer.files, 1);
	return S_ISREG(member->mode) && !member->hardlink ? read_content(proof, member->size) : 0;
}

static int read_all(struct proof *proof, struct error *err)
{
	const char *backup = proof->restore.result->backup;
	struct archive_found found;
	AUTO_FREE char *path = NULL;
	int r;

	while ((r = proof->members.next(proof->members.arg, &found)) == 1) {
		free(path);
		path = xstrdup(found.member.path);
		tell(proof, 0, 1);
		if (found.problem)
			return error_set(err, -EBADMSG, "backup %.8s: %s: %s", backup, path, found.problem);
		r = transfer_stopped(&proof->transfer) ? -ECANCELED : add_member(proof, &found);
		if (r < 0)
			break;
	}
	if (r == -ECANCELED)
		return error_set(err, r, "cancelled");
	if (r < 0) {
		const char *problem = proof->members.problem(proof->members.arg);

		return error_set(err, r, "backup %.8s: %s: %s", backup, path ? path : "/", *problem ? problem : error_text(r));
	}
	return 0;
}

static int prove(struct proof *proof, struct error *err)
{
	uint8_t identity[IDENTITY_LEN];
	int r;

	proof->members = restore_source_members(proof->restore.source);
	proof->tree = tree_digest_new();
	r = read_all(proof, err);
	/* Of what is known to be no tree, or is one file, there is nothing to compare. */
	if (r == 0 && restore_source_identity(proof->restore.source)) {
		r = tree_digest_final(proof->tree, identity);
		r = r < 0 ? error_set(err, r, "the identity of what was read cannot be computed: the backup is no tree")
		          : restore_compare(&proof->restore, identity, err);
	}
	tree_digest_free(proof->tree);
	return r;
}

int restore_to_memory(const struct restore_options *options, struct restore_result *ret_result, struct error *err)
{
	struct proof proof = {.restore = {.options = options, .result = ret_result}};
	int r, failed;

	*ret_result = (struct restore_result){0};
	proof.restore.total_bytes = &proof.transfer.total;
	transfer_begin(&proof.transfer, &options->transfer);
	r = restore_begin(&proof.restore, err);
	if (r == 0)
		r = prove(&proof, err);
	restore_end(&proof.restore);
	failed = transfer_end(&proof.transfer, &ret_result->transfer, r < 0 ? NULL : err);
	return r < 0 ? r : failed;
}
