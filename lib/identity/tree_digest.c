#include "lib/identity/tree_digest.h"

#include "lib/identity/content_digest.h"

struct tree_digest {
	struct tree_parts *parts;
	struct tree_part *part; /* the file whose content comes, or NULL */
	struct digest *digest;  /* of a piece of it; empty between */
	struct content_digest content;
};

struct tree_digest *tree_digest_new(void)
{
	struct tree_digest *tree = xcalloc(1, sizeof(*tree));

	tree->parts = tree_parts_new();
	tree->digest = digest_new();
	return tree;
}

void tree_digest_free(struct tree_digest *tree)
{
	if (!tree)
		return;
	content_digest_clear(&tree->content);
	digest_free(tree->digest);
	tree_parts_free(tree->parts);
	free(tree);
}

static void end_file(struct tree_digest *tree)
{
	uint8_t content[DIGEST_LEN];
	bool is_sparse;

	if (!tree->part)
		return;
	content_digest_final(&tree->content, content, &is_sparse);
	tree_parts_content(tree->parts, steal_ptr(tree->part), content);
}

int tree_digest_member(struct tree_digest *tree, const struct tree_member *member)
{
	int r;

	end_file(tree);
	r = tree_parts_member(tree->parts, member, &tree->part);
	if (tree->part)
		content_digest_begin(&tree->content, tree->digest, member->size);
	return r;
}

void tree_digest_data(struct tree_digest *tree, const void *data, size_t len)
{
	if (tree->part)
		content_digest_data(&tree->content, data, len);
}

void tree_digest_zeros(struct tree_digest *tree, uint64_t len)
{
	if (tree->part)
		content_digest_zeros(&tree->content, len);
}

int tree_digest_final(struct tree_digest *tree, uint8_t ret_identity[IDENTITY_LEN])
{
	end_file(tree);
	return tree_parts_final(tree->parts, ret_identity);
}
