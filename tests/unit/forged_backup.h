/* For the tests of backups: a copy of one in which somebody changed what a node says, with trees and a description that fit. */
#ifndef CORPUSFS_TESTS_FORGED_BACKUP_H
#define CORPUSFS_TESTS_FORGED_BACKUP_H

#include "backup_scene.h"

struct forge {
	bool (*change)(struct forge *forge, struct node *node); /* of each node; false: it is left out */
	struct repository_reader *reader;
	struct repository_writer *writer;
	struct repository_hand *hand;
	struct buf tree; /* that is made */
};

static struct blob_id put_blob(struct forge *forge, bool is_tree, const struct buf *bytes)
{
	const struct new_blob blob = {.id = blob_id_of(bytes->data, bytes->len), .is_tree = is_tree, .plain = bytes->data, .len = bytes->len};
	struct error err = {0};

	if (repository_writer_claim(forge->writer, &blob.id, is_tree))
		assert_int_equal(repository_hand_add(forge->hand, &blob, &err), 0);
	return blob.id;
}

static struct blob_id change_tree(struct forge *forge, const struct blob_id *tree);

static int change_node(void *arg, struct node *node)
{
	struct forge *forge = arg;

	if (node->has_subtree)
		node->subtree = change_tree(forge, &node->subtree);
	if (forge->change(forge, node))
		tree_add(&forge->tree, node);
	return 0;
}

static struct blob_id change_tree(struct forge *forge, const struct blob_id *tree)
{
	struct buf outer = forge->tree;
	AUTO_BUF json = BUF_INIT;
	struct blob_id id;

	forge->tree = (struct buf)BUF_INIT;
	assert_int_equal(repository_read_blob(forge->reader, tree, true, &json), 0);
	tree_begin(&forge->tree);
	assert_int_equal(tree_read((char *)json.data, json.len, change_node, forge), 0);
	tree_end(&forge->tree);
	id = put_blob(forge, true, &forge->tree);
	buf_clear(&forge->tree);
	forge->tree = outer;
	return id;
}

/* A copy of the backup, with another name. */
static void forge_backup(struct scene *scene, const char *name, bool (*change)(struct forge *forge, struct node *node), char ret_name[BLOB_ID_TEXT])
{
	struct repository *repository = scene->repository.repository;
	struct forge forge = {.change = change, .tree = BUF_INIT};
	struct snapshot_file snapshot = {0};
	struct writer_counts counts;
	struct error err = {0};

	assert_int_equal(repository_load_index(repository, false, &err), 0);
	forge.reader = repository_reader_new(repository);
	forge.writer = repository_writer_new(repository, repository->index);
	forge.hand = repository_hand_new(forge.writer);
	assert_int_equal(snapshot_file_read(repository, name, &snapshot, &err), 0);
	snapshot.tree = change_tree(&forge, &snapshot.tree);
	assert_int_equal(repository_hand_end(forge.hand, &err), 0);
	assert_int_equal(repository_writer_end(forge.writer, &counts, &err), 0);
	assert_int_equal(snapshot_file_write(repository, &snapshot, ret_name, &err), 0);
	snapshot_file_clear(&snapshot);
	repository_writer_free(forge.writer);
	repository_reader_free(forge.reader);
}

#endif
