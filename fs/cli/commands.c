#include "fs/cli/commands.h"

const struct command_group command_groups[] = {
	{"Stores and mounts", store_commands},
	{"", mount_commands},
	{"", umount_commands},
	{"", restart_commands},
	{"Datasets", dataset_commands},
	{"Snapshots", snapshot_commands},
	{"", history_commands},
	{"Getting data in and out", transfer_commands},
	{"Backups", backup_commands},
	{"", backup_schedule_commands},
	{"", repository_commands},
	{"", backup_report_commands},
	{"", repository_key_commands},
	{"Space", gc_commands},
	{"Damage", verify_commands},
	{"", check_commands},
	{"", repair_commands},
	{"Other", doctor_commands},
	{"", program_commands},
	{NULL, NULL},
};
