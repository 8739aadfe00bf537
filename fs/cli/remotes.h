/*
 * Remotes: names for repositories, with where their passwords and credentials come from. They are the user's, as those of rclone are: a store
 * that somebody else made must not decide which command runs to get a password, nor where data goes. They stand in $CORPUSFS_REMOTES, else in
 * $XDG_CONFIG_HOME/corpusfs/remotes, else in ~/.config/corpusfs/remotes, as JSON:
 *
 *   {"remotes": {NAME: {"url", "password_file"?, "password_command"?, "credentials_file"?, "credentials_command"?, "profile"?, "region"?,
 *                       "ca_file"?, "single_writer"?, "etcd"?, "etcd_ca_file"?, "etcd_client_file"?, "etcd_credentials_file"?,
 *                       "etcd_credentials_command"?}}}
 *
 * A link in its place is followed, and stays.
 *
 * No secret is in it. What it names is read, or run, when the remote is used. A file that another user could change is not used.
 *
 * A command that takes a repository takes "NAME:" for one, and "NAME:DATASET" where something of it is meant. A path that has a colon begins
 * with ./ or / if a remote has that name.
 */
#ifndef CORPUSFS_CLI_REMOTES_H
#define CORPUSFS_CLI_REMOTES_H

#include <jansson.h>
#include <stdbool.h>

#include "lib/base/error.h"

/* Of what can be set of a remote: the key in the file, and the option that sets it. Ends with NULL. */
struct remote_setting {
	const char *key, *option;
	bool is_path; /* made absolute */
};
extern const struct remote_setting remote_settings[];

WARN_UNUSED int remotes_read(json_t **ret_remotes, struct error *err); /* {NAME: {...}}; no file: none */
/* Sets one, or removes it (remote NULL), while nobody else changes the file. -EEXIST, -ENOENT. Takes over `remote`. */
WARN_UNUSED int remotes_change(const char *name, json_t *remote, struct error *err);

/*
 * 1: the text is "NAME:" and what follows, of a remote; ret_remote is the caller's, ret_rest is what follows, in the text. 0: it is not. Both
 * may be NULL. A negative errno: the file cannot be used, and the text may be the name of a remote.
 */
WARN_UNUSED int remote_find(const char *text, json_t **ret_remote, const char **ret_rest, struct error *err);
/* The same of a name alone. -ENOENT. */
WARN_UNUSED int remote_get(const char *name, json_t **ret_remote, struct error *err);
/* Whether the text is "NAME:" of a remote that says by itself where its password comes from, so that nobody has to be asked. */
bool remote_has_password(const char *text);

#endif
