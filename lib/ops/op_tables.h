/* The parts of the table of operations, one for each file NAME_ops.c. Each ends with an entry without a name. Internal to lib/ops. */
#ifndef CORPUSFS_OPS_OP_TABLES_H
#define CORPUSFS_OPS_OP_TABLES_H

#include "lib/ops/ops.h"

extern const struct op store_ops[], dataset_ops[], snapshot_ops[], identity_ops[], gc_ops[], diff_ops[], history_ops[], schedule_ops[], transfer_ops[],
	backup_ops[], backup_schedule_ops[], repository_ops[], report_ops[], verify_ops[], check_ops[], repair_ops[], heal_ops[],
	stream_ops[], remote_ops[], publish_ops[], repository_key_ops[], forget_ops[], backup_hold_ops[];

#endif
