#include "fs/cli/where.h"

#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/pidfd.h>
#include <sys/statfs.h>
#include <sys/wait.h>

#include "fs/daemon/process/behind.h"
#include "lib/base/file.h"
#include "lib/base/path.h"
#include "lib/base/shell.h"
#include "lib/format/superblock.h"

#define MOUNTINFO_MAX (64U << 20)
#define PATIENCE_MS 5000

extern char **environ;

/* For a slash at the end realpath(3) would ask the filesystem, whose daemon may not answer. */
static char *without_last_slashes(const char *path)
{
	char *copy = xstrdup(path);

	for (size_t len = strlen(copy); len > 1 && copy[len - 1] == '/'; len--)
		copy[len - 1] = '\0';
	return copy;
}

char *where_absolute(const char *path)
{
	AUTO_FREE char *bare = without_last_slashes(path);
	AUTO_FREE char *parent_copy = xstrdup(bare), *name_copy = xstrdup(bare);
	AUTO_FREE char *parent = NULL;
	char *name, *whole = realpath(bare, NULL);

	if (whole || errno != ENOTCONN)
		return whole;
	parent = realpath(dirname(parent_copy), NULL);
	name = basename(name_copy);
	if (!parent)
		return NULL;
	return xasprintf("%s/%s", strcmp(parent, "/") == 0 ? "" : parent, name);
}

char *where_absolute_new(const char *path)
{
	AUTO_FREE char *here = path[0] == '/' ? NULL : realpath(".", NULL);

	return path[0] == '/' ? xstrdup(path) : here ? xasprintf("%s/%s", here, path) : NULL;
}

/* Spaces and the like are written as \040. In place. */
static void unescape(char *text)
{
	char *out = text;

	for (; *text; text++) {
		if (text[0] == '\\' && text[1] >= '0' && text[1] <= '3' && text[2] && text[3]) {
			*out++ = (char)((text[1] - '0') * 64 + (text[2] - '0') * 8 + (text[3] - '0'));
			text += 3;
		} else {
			*out++ = *text;
		}
	}
	*out = '\0';
}

struct line {
	char *root, *mountpoint; /* root: which part of the filesystem is shown there */
	char *fstype, *source, *options; /* options: of the filesystem, not of this mount of it */
	unsigned connection; /* the minor number of its device */
};

/* "36 35 98:0 /root /mountpoint options optional... - fstype source options" */
static bool parse_line(char *text, struct line *ret_line)
{
	char *rest = strstr(text, " - "), *state = NULL, *word = strtok_r(text, " ", &state);

	for (int field = 1; word && field < 5; field++) {
		word = strtok_r(NULL, " ", &state);
		if (word && field == 2 && sscanf(word, "%*u:%u", &ret_line->connection) != 1)
			return false;
		if (field == 3)
			ret_line->root = word;
	}
	if (!rest || !word)
		return false;
	ret_line->mountpoint = word;
	ret_line->fstype = strtok_r(rest + 3, " ", &state);
	ret_line->source = strtok_r(NULL, " ", &state);
	ret_line->options = strtok_r(NULL, " ", &state);
	if (!ret_line->fstype || !ret_line->source || !ret_line->options)
		return false;
	unescape(ret_line->root);
	unescape(ret_line->mountpoint);
	unescape(ret_line->source);
	return true;
}

static void each_mount(void (*each)(void *arg, const struct line *line), void *arg)
{
	AUTO_BUF content = BUF_INIT;
	char *state = NULL;

	if (file_read("/proc/self/mountinfo", MOUNTINFO_MAX, &content) < 0)
		return;
	buf_add_u8(&content, 0);
	for (char *text = strtok_r((char *)content.data, "\n", &state); text; text = strtok_r(NULL, "\n", &state)) {
		struct line line;
		if (parse_line(text, &line))
			each(arg, &line);
	}
}

static bool is_store(const char *path)
{
	AUTO_FREE char *superblock = xasprintf("%s/" SUPERBLOCK_NAME, path);

	/* Who may not look into the store is told so by whoever talks to its daemon. */
	return path[0] == '/' && (access(superblock, F_OK) == 0 || errno == EACCES);
}

/* A mount's source is "STORE", "STORE:DATASET" or "STORE:DATASET@NAME"; a store's path may hold colons too. */
static char *store_of_source(const char *source)
{
	AUTO_FREE char *path = xstrdup(source);

	while (!is_store(path)) {
		char *colon = strrchr(path, ':');
		if (!colon)
			return NULL;
		*colon = '\0';
	}
	return steal_ptr(path);
}

struct search {
	const char *path;
	bool exact;
	char *root, *mountpoint, *source; /* of the last match; source NULL: not ours */
	unsigned connection;
	bool found;
};

static void search_clear(struct search *search)
{
	free(search->root);
	free(search->mountpoint);
	free(search->source);
}

static bool lies_in(const char *path, const char *directory)
{
	size_t len = strlen(directory);

	if (strcmp(directory, "/") == 0)
		return true;
	return strncmp(path, directory, len) == 0 && (path[len] == '\0' || path[len] == '/');
}

/* Later lines lie over earlier ones; of those that contain a path the longest counts. */
static void look_at(void *arg, const struct line *line)
{
	struct search *search = arg;

	if (search->exact ? strcmp(line->mountpoint, search->path) != 0 : !lies_in(search->path, line->mountpoint))
		return;
	if (search->found && strlen(line->mountpoint) < strlen(search->mountpoint))
		return;
	search_clear(search);
	search->found = true;
	search->root = xstrdup(line->root);
	search->mountpoint = xstrdup(line->mountpoint);
	search->connection = line->connection;
	search->source = strcmp(line->fstype, WHERE_FSTYPE) == 0 ? xstrdup(line->source) : NULL;
}

enum where_kind where_mounted(const char *mountpoint, char **ret_store)
{
	struct search search = {.path = mountpoint, .exact = true};
	enum where_kind kind;

	each_mount(look_at, &search);
	kind = !search.found ? WHERE_NOT_MOUNTED : search.source ? WHERE_OURS : WHERE_OTHER;
	if (ret_store)
		*ret_store = kind == WHERE_OURS ? store_of_source(search.source) : NULL;
	search_clear(&search);
	return kind;
}

char *where_store_of(const char *path, char **ret_mountpoint)
{
	struct search search = {.path = path};
	char *store;

	each_mount(look_at, &search);
	store = search.source ? store_of_source(search.source) : NULL;
	if (ret_mountpoint)
		*ret_mountpoint = store ? steal_ptr(search.mountpoint) : NULL;
	search_clear(&search);
	return store;
}

unsigned where_connection(const char *path, char **ret_mountpoint)
{
	struct search search = {.path = path};
	unsigned connection;

	each_mount(look_at, &search);
	connection = search.source ? search.connection : 0;
	*ret_mountpoint = connection ? steal_ptr(search.mountpoint) : NULL;
	search_clear(&search);
	return connection;
}

char *where_store_around(const char *path)
{
	AUTO_FREE char *bare = without_last_slashes(path);
	AUTO_FREE char *there = where_absolute(bare), *parent = there ? NULL : where_absolute(dirname(bare));
	const char *absolute = there ? there : parent;

	return absolute ? where_store_of(absolute, NULL) : NULL;
}

static int no_such_store(const char *path, struct error *err)
{
	AUTO_FREE char *around = where_store_around(path);

	error_set(err, -ENOENT, "there is no store at %s", path);
	if (!around && strchr(path, '/'))
		error_hint_shell(err, "corpusfs init %s makes one", path);
	else if (!around)
		error_hint_shell(err, "corpusfs init %s makes one; the names of remotes: corpusfs remote list", path);
	return -ENOENT;
}

int where_named_store(const char *path, char **ret_store, struct error *err)
{
	AUTO_FREE char *absolute = where_absolute(path), *found = NULL, *mounted = NULL;

	if (!absolute || where_mounted(absolute, &mounted) != WHERE_OURS || !mounted)
		found = realpath(path, NULL);
	if (!found && !mounted)
		return errno == ENOENT ? no_such_store(path, err) : error_set(err, -errno, "%s: %s", path, strerror(errno));
	if (found && !is_store(found) && !mounted)
		mounted = where_store_of(found, NULL);
	*ret_store = mounted ? steal_ptr(mounted) : steal_ptr(found);
	return 0;
}

bool where_is_of_repository(const char *path, char **ret_mountpoint)
{
	struct search search = {.path = path};
	bool is_it;

	each_mount(look_at, &search);
	AUTO_FREE char *store = search.source ? store_of_source(search.source) : NULL;
	is_it = search.source && !store;
	if (is_it)
		*ret_mountpoint = steal_ptr(search.mountpoint);
	search_clear(&search);
	return is_it;
}

bool where_inside(const char *path, struct where_inside *ret_inside)
{
	struct search search = {.path = path};
	char *store;

	each_mount(look_at, &search);
	store = search.source ? store_of_source(search.source) : NULL;
	if (store) {
		AUTO_FREE char *whole = xasprintf("%s/%s", search.root, path + strlen(search.mountpoint));
		*ret_inside = (struct where_inside){
			.store = store,
			.view = xstrdup(search.source[strlen(store)] == ':' ? search.source + strlen(store) + 1 : ""),
			.path = path_clean(whole),
		};
	}
	search_clear(&search);
	return store != NULL;
}

void where_inside_clear(struct where_inside *inside)
{
	free(inside->store);
	free(inside->view);
	free(inside->path);
	*inside = (struct where_inside){0};
}

struct visit {
	void (*each)(void *arg, const char *mountpoint, const char *store, unsigned connection);
	void *arg;
};

static void visit_one(void *arg, const struct line *line)
{
	const struct visit *visit = arg;
	AUTO_FREE char *store = NULL;

	if (strcmp(line->fstype, WHERE_FSTYPE) != 0)
		return;
	store = store_of_source(line->source);
	visit->each(visit->arg, line->mountpoint, store, line->connection);
}

void where_each(void (*each)(void *arg, const char *mountpoint, const char *store, unsigned connection), void *arg)
{
	each_mount(visit_one, &(struct visit){.each = each, .arg = arg});
}

/* In a child, which can be given up. */
static int __attribute__((noreturn)) ask(const char *mountpoint)
{
	struct statfs st;

	/* stat(2) may be answered from the kernel's cache. */
	_exit(statfs(mountpoint, &st) < 0 && (errno == ENOTCONN || errno == ECONNABORTED) ? WHERE_DEAD : WHERE_ALIVE);
}

enum where_health where_health(const char *mountpoint)
{
	AUTO_CLOSE int fd = -1;
	pid_t pid = fork();
	int status;

	if (pid == 0)
		ask(mountpoint);
	fd = pid > 0 ? pidfd_open(pid, 0) : -1;
	if (fd < 0 || poll(&(struct pollfd){.fd = fd, .events = POLLIN}, 1, PATIENCE_MS) != 1) {
		/* It is not waited for: once the daemon has read its request, it does not go before that is answered. */
		if (pid > 0)
			kill(pid, SIGKILL);
		return WHERE_SILENT;
	}
	waitpid(pid, &status, 0);
	return WIFEXITED(status) ? (enum where_health)WEXITSTATUS(status) : WHERE_SILENT;
}

struct abort_search {
	const char *mountpoint;
	unsigned connection;
};

static void look_for_connection(void *arg, const struct line *line)
{
	struct abort_search *search = arg;

	if (strcmp(line->mountpoint, search->mountpoint) == 0)
		search->connection = strcmp(line->fstype, WHERE_FSTYPE) == 0 ? line->connection : 0;
}

static unsigned find_connection(const char *mountpoint)
{
	struct abort_search search = {.mountpoint = mountpoint};

	each_mount(look_for_connection, &search);
	return search.connection;
}

/* When a mount ends, the next one may get its number: that it is still there afterwards says that the file is its own. */
int where_open_abort(const char *mountpoint)
{
	const unsigned connection = find_connection(mountpoint);
	AUTO_FREE char *path = xasprintf("/sys/fs/fuse/connections/%u/abort", connection);
	int fd = connection ? open(path, O_WRONLY | O_CLOEXEC) : -1;

	if (fd >= 0 && find_connection(mountpoint) != connection) {
		close(fd);
		fd = -1;
	}
	return fd;
}

void where_abort(int fd)
{
	if (fd >= 0)
		(void)!write(fd, "1", 1);
}

struct read_only_search {
	const char *mountpoint;
	bool read_only;
};

static void look_at_options(void *arg, const struct line *line)
{
	struct read_only_search *search = arg;

	if (strcmp(line->mountpoint, search->mountpoint) == 0)
		search->read_only = strncmp(line->options, "ro", 2) == 0 && (line->options[2] == ',' || line->options[2] == '\0');
}

bool where_is_read_only(const char *mountpoint)
{
	struct read_only_search search = {.mountpoint = mountpoint};

	each_mount(look_at_options, &search);
	return search.read_only;
}

static int fusermount(const char *mountpoint, bool lazy)
{
	char *argv[] = {(char *)"fusermount3", (char *)(lazy ? "-uz" : "-u"), (char *)"-q", (char *)"--", (char *)mountpoint, NULL};
	pid_t pid;
	int status, result = -posix_spawnp(&pid, argv[0], NULL, NULL, argv, environ);

	if (result < 0)
		return result;
	while (waitpid(pid, &status, 0) < 0)
		if (errno != EINTR)
			return -errno;
	return status == 0 ? 0 : -EPERM;
}

int where_remove_dead(const char *mountpoint, struct error *err)
{
	int result = umount2(mountpoint, MNT_DETACH) < 0 ? -errno : 0;

	if (result == -EPERM)
		result = fusermount(mountpoint, true);
	if (result < 0) {
		error_set(err, result, "the dead mount at %s could not be removed: %s", mountpoint, error_text(result));
		error_hint_shell(err, "as root: umount -l %s", mountpoint);
	}
	return result;
}

int where_remove_all_dead(const char *mountpoint, struct error *err)
{
	while (where_mounted(mountpoint, NULL) == WHERE_OURS && where_health(mountpoint) == WHERE_DEAD) {
		const bool writes = !where_is_read_only(mountpoint);
		const int result = where_remove_dead(mountpoint, err);

		if (result < 0)
			return result;
		if (writes)
			fprintf(stderr, "corpusfs: the daemon of the mount at %s had died: what was not synced is lost\n", mountpoint);
	}
	return 0;
}

int where_unmount(const char *mountpoint, bool lazy, struct error *err)
{
	int result = umount2(mountpoint, UMOUNT_NOFOLLOW | (lazy ? MNT_DETACH : 0)) < 0 ? -errno : 0;

	if (result == -EPERM)
		result = fusermount(mountpoint, lazy);
	if (result < 0)
		error_set(err, result, "%s could not be unmounted: %s", mountpoint, error_text(result));
	if (result == -EBUSY)
		error_hint_shell(err, "fuser -vm %s shows by whom; corpusfs umount --lazy %s detaches it now", mountpoint, mountpoint);
	return result;
}

struct behind_search {
	const char *mountpoint;
	unsigned connection, user;
	bool found;
};

static void look_for_user(void *arg, const struct line *line)
{
	struct behind_search *search = arg;
	const char *user = strstr(line->options, "user_id=");

	if (strcmp(line->mountpoint, search->mountpoint) != 0)
		return;
	search->connection = line->connection;
	search->found = strcmp(line->fstype, WHERE_FSTYPE) == 0 && user && sscanf(user, "user_id=%u", &search->user) == 1;
}

int where_behind(const char *mountpoint, pid_t *ret_pid)
{
	struct behind_search search = {.mountpoint = mountpoint};

	each_mount(look_for_user, &search);
	return search.found ? behind_connect(search.connection, search.user, ret_pid) : -ENOENT;
}
