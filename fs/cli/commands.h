/* All commands there are, in the order in which help shows them. */
#ifndef CORPUSFS_CLI_COMMANDS_H
#define CORPUSFS_CLI_COMMANDS_H

#include "fs/cli/command.h"

extern const struct command_group command_groups[]; /* ends with a NULL title */

/* The parts, one for each file cmd_NAME.c; each ends with an entry whose name is NULL. */
extern const struct command store_commands[], mount_commands[], umount_commands[], restart_commands[], dataset_commands[], snapshot_commands[],
	history_commands[], gc_commands[], transfer_commands[], backup_commands[], backup_mount_commands[],
	backup_report_commands[], backup_schedule_commands[], repository_commands[], drill_commands[], backup_hold_commands[],
	verify_commands[], check_commands[], repair_commands[], stream_commands[], doctor_commands[], program_commands[], repository_key_commands[],
	publish_commands[], remote_commands[], unpin_commands[];

#endif
