/*
 * The daemon's log: one line per event, to standard error.
 *
 *   2026-11-21T08:57:00Z info mounted mountpoint=/mnt/corpus dataset=train
 *
 * In the background standard error is the file STORE/log, so that what libraries and sanitizers print lands there too;
 * when it has grown to 4 MiB it becomes STORE/log.1 and a new one begins. Threads: any.
 */
#ifndef CORPUSFS_DAEMON_PROCESS_LOG_H
#define CORPUSFS_DAEMON_PROCESS_LOG_H

#include "lib/base/clean.h"

struct log;

struct log *log_new(void);
void log_free(struct log *log);

/* From now on standard error is a file of that name in the directory (a descriptor, which stays the caller's). */
WARN_UNUSED int log_to_file(struct log *log, int dir, const char *name);

/* From now on lines go to syslog(3), and standard error nowhere: there is no place for a file. */
WARN_UNUSED int log_to_syslog(struct log *log);

/* level: "error", "warning", "info". `format` gives "key=value key=value ...". */
void log_line(struct log *log, const char *level, const char *event, const char *format, ...) PRINTF_LIKE(4, 5);

#endif
