/*
 * The nodes of a tree as they stand in its text, for who takes most of them over as they are: to know what a node is of, and to add it to another
 * tree, is ten times as fast as to read and write all that it has.
 */
#ifndef CORPUSFS_REPOSITORY_NODE_TEXT_H
#define CORPUSFS_REPOSITORY_NODE_TEXT_H

#include "lib/repository/json_scan.h"
#include "lib/repository/node.h"

struct node_text {
	const char *text; /* the object, with its braces; in the tree's text */
	size_t len;
	struct json_text name; /* as JSON and Go write it */
	struct json_text type; /* as go_type_of() has it */
	uint64_t inode;
	bool has_subtree;
	struct blob_id subtree;
};

/* Adds the nodes of a tree. -EBADMSG: it is none, or is formed as we do not form it: tree_read may read it all the same. */
struct node_texts {
	ARRAY_FIELDS(struct node_text);
};
WARN_UNUSED int node_texts_read(const char *json, size_t len, struct node_texts *texts);
/* The same one by one. What `each` returns, if not 0, ends it. */
typedef int (*node_text_fn)(void *arg, const struct node_text *node);
WARN_UNUSED int node_texts_each(const char *json, size_t len, node_text_fn each, void *arg);

/* The bytes that a node's name stands for; the caller's to free. -EBADMSG. */
WARN_UNUSED int json_text_name(const struct json_text *name, char **ret_name);

/* The order of its name and another one: negative, 0, positive. A name that cannot be read comes before all others. */
int node_text_compare(const struct node_text *text, const char *name);

#endif
