/*
 * The password of a repository, from the first of these that there is: --password-file, --password-command, what its remote says (remotes.h;
 * repository_open_place comes before), $CORPUSFS_PASSWORD, $CORPUSFS_PASSWORD_FILE, $CORPUSFS_PASSWORD_COMMAND, restic's variables ($RESTIC_PASSWORD,
 * ..._FILE, ..._COMMAND), the terminal. It never stands among a command's arguments, where everybody could read it.
 */
#ifndef CORPUSFS_CLI_PASSWORD_H
#define CORPUSFS_CLI_PASSWORD_H

#include <jansson.h>

#include "fs/cli/command.h"

#define OPTIONS_PASSWORD                                                               \
	{0, "password-file", "FILE", "the password is the first line of the file"},    \
	{                                                                              \
		0, "password-command", "COMMAND", "the password is what the command prints" \
	}

/* Puts it into the arguments of an operation. is_new: it is asked for twice. -EINVAL: there is none, or it is empty. */
WARN_UNUSED int password_set(struct cli *cli, json_t *args, bool is_new, struct error *err);
WARN_UNUSED int password_get(struct cli *cli, bool is_new, char **ret_password, struct error *err); /* ends with password_free */
/* One more password: from --new-password-file, $CORPUSFS_NEW_PASSWORD or the terminal. Ends with password_free. */
WARN_UNUSED int password_get_new(struct cli *cli, char **ret_password, struct error *err);
/* The first line of a file. Ends with password_free. */
WARN_UNUSED int password_read_file(const char *path, char **ret_password, struct error *err);
/* What a command prints, whole. Ends with password_free. */
WARN_UNUSED int password_command_output(const char *command, char **ret_text, struct error *err);
void password_free(char *password); /* wipes it; NULL is fine */

#endif
