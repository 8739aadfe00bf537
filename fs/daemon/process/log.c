#include "fs/daemon/process/log.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <syslog.h>

#include "lib/base/buf.h"
#include "lib/base/clock.h"
#include "lib/base/escape.h"
#include "lib/base/file.h"

#define LOG_MAX (4 << 20)
#define LINE_MAX_LEN 4096

struct log {
	pthread_mutex_t lock; /* guards all below, and the order of lines */
	int dir;
	char *name;           /* in the directory; NULL: standard error is not ours */
	bool syslog;
};

struct log *log_new(void)
{
	struct log *log = xcalloc(1, sizeof(*log));

	pthread_mutex_init(&log->lock, NULL);
	log->dir = -1;
	return log;
}

void log_free(struct log *log)
{
	if (!log)
		return;
	pthread_mutex_destroy(&log->lock);
	if (log->dir >= 0)
		close(log->dir);
	free(log->name);
	free(log);
}

static int redirect(int dir, const char *name)
{
	AUTO_CLOSE int fd = file_open_inside(dir, name, O_WRONLY | O_CREAT | O_APPEND, 0600);

	if (fd < 0)
		return fd;
	return dup2(fd, STDERR_FILENO) < 0 ? -errno : 0;
}

int log_to_file(struct log *log, int dir, const char *name)
{
	int result = redirect(dir, name), copy = result < 0 ? -1 : fcntl(dir, F_DUPFD_CLOEXEC, 0);

	if (result == 0 && copy < 0)
		result = -errno;
	if (result < 0)
		return result;
	pthread_mutex_lock(&log->lock);
	log->dir = copy;
	log->name = xstrdup(name);
	pthread_mutex_unlock(&log->lock);
	return 0;
}

int log_to_syslog(struct log *log)
{
	AUTO_CLOSE int null = open("/dev/null", O_WRONLY | O_CLOEXEC);

	if (null < 0 || dup2(null, STDERR_FILENO) < 0)
		return -errno;
	openlog("corpusfs", LOG_PID, LOG_DAEMON);
	pthread_mutex_lock(&log->lock);
	log->syslog = true;
	pthread_mutex_unlock(&log->lock);
	return 0;
}

static int syslog_priority(const char *level)
{
	return strcmp(level, "error") == 0 ? LOG_ERR : strcmp(level, "warning") == 0 ? LOG_WARNING : LOG_INFO;
}

static void rotate_if_full(struct log *log)
{
	AUTO_FREE char *old = NULL;
	struct stat st;

	if (!log->name || fstat(STDERR_FILENO, &st) < 0 || st.st_size < LOG_MAX)
		return;
	old = xasprintf("%s.1", log->name);
	/* Where this fails the log goes on in the file it has. */
	if (renameat(log->dir, log->name, log->dir, old) == 0 && redirect(log->dir, log->name) < 0)
		(void)!renameat(log->dir, old, log->dir, log->name);
}

void log_line(struct log *log, const char *level, const char *event, const char *format, ...)
{
	char line[LINE_MAX_LEN], when[32];
	AUTO_BUF text = BUF_INIT;
	va_list args;
	size_t len;

	clock_format(clock_now().tv_sec, when);
	len = (size_t)snprintf(line, sizeof(line), "%s %s %s ", when, level, event);
	va_start(args, format);
	vsnprintf(line + len, sizeof(line) - len, format, args);
	va_end(args);
	escape_add(&text, line, strlen(line), ESCAPE_BYTES | ESCAPE_CONTROL);
	buf_add_u8(&text, '\n');
	pthread_mutex_lock(&log->lock);
	if (log->syslog)
		syslog(syslog_priority(level), "%.*s", (int)text.len - 1, (const char *)text.data);
	rotate_if_full(log);
	/* There is nobody to tell when a log line cannot be written. */
	(void)!file_write_all(STDERR_FILENO, text.data, text.len);
	pthread_mutex_unlock(&log->lock);
}
