#include "lib/backup/restore_dirs.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "lib/backup/restore_attributes.h"
#include "lib/tree/files/acl.h"

#define OPEN_DIRECTORY (O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC)

/* What is damaged is this file's; a place that is away is all files'. */
static void report_unread(struct restore_dirs *dirs, const struct error *why, const char *path)
{
	const struct restore_options *options = dirs->options;
	struct error failure = {0};

	if (why->code == -EBADMSG && options->keep_going) {
		transfer_problem(dirs->transfer, "", path, why->code, why->text);
		return;
	}
	(void)error_set(&failure, why->code, "%s: %s: %s", options->place, path, why->text);
	if (why->hint[0])
		error_hint(&failure, "%s", why->hint);
	transfer_fail_with(dirs->transfer, &failure);
}

void restore_dirs_report(struct restore_dirs *dirs, struct restore_target *target, const char *path, int r)
{
	const struct restore_options *options = dirs->options;

	if (r == 1)
		report_unread(dirs, &target->damage, path);
	else if (r == -ENOSPC || r == -EDQUOT)
		transfer_fail(dirs->transfer, r, "no room is left for %s", options->target);
	else if (r < 0 && r != -ECANCELED)
		transfer_problem(dirs->transfer, "", path, r, r == -ESTALE ? "left out: somebody else changes its directory" : NULL);
}

/* --- the end of a directory --- */

static int finish(struct restore_dirs *dirs, struct restore_target *target, struct restore_dir *dir, const char *path)
{
	const int fd = dir->held.fd;
	int r = dir->has_node ? restore_attributes_set(target, fd, path, &dir->node) : 0;

	if (r == 0 && dir->by_file && !transfer_stopped(dirs->transfer) && fsync(fd) < 0)
		r = -errno;
	return r;
}

static void end(struct restore_dirs *dirs, struct restore_target *target, struct restore_dir *dir)
{
	AUTO_FREE char *path = dir->trail ? trail_text(dir->trail, "") : xstrdup(".");

	if (dir->held.fd >= 0) {
		restore_dirs_report(dirs, target, path, finish(dirs, target, dir, path));
		close(dir->held.fd);
	}
	node_clear(&dir->node);
	trail_put(dir->trail);
	free(dir);
}

void restore_dir_hold(struct restore_dirs *dirs, struct restore_dir *dir)
{
	held_dir_hold(&dirs->dirs, &dir->held);
}

void restore_dir_let_go(struct restore_dirs *dirs, struct restore_target *target, struct restore_dir *dir)
{
	if (held_dir_let_go(&dirs->dirs, &dir->held))
		end(dirs, target, dir);
}

/* --- down --- */

struct restore_dir *restore_dirs_current(struct restore_dirs *dirs)
{
	return (struct restore_dir *)held_dirs_current(&dirs->dirs);
}

/* What is there already may be somebody's: for root it is taken. Who does not let us: then making files in it says so. */
static void begin_filling(int fd)
{
	(void)!fchown(fd, geteuid(), (gid_t)-1);
	(void)fchmod(fd, 0700);
	(void)fremovexattr(fd, ACL_DEFAULT);
}

/* name NULL: the target. Takes over the descriptor. */
static int push(struct restore_dirs *dirs, int fd, const char *name)
{
	struct restore_dir *dir;
	struct stat st;
	int r = fstat(fd, &st) < 0 ? -errno : 0;

	if (r < 0) {
		close(fd);
		return r;
	}
	if (name && dirs->path.len > 0)
		buf_add_u8(&dirs->path, '/');
	if (name)
		buf_add(&dirs->path, name, strlen(name));
	dir = xcalloc(1, sizeof(*dir));
	*dir = (struct restore_dir){.trail = name ? trail_new(restore_dirs_current(dirs)->trail, name) : NULL, .path_len = dirs->path.len,
	                            .by_file = target_sync_meet(&dirs->sync, fd)};
	held_dirs_push(&dirs->dirs, &dir->held, fd, &st);
	return 0;
}

static void describe(struct restore_dir *dir, struct node *node)
{
	dir->has_node = true;
	dir->node = *node;
	*node = (struct node){0};
}

int restore_dirs_enter(struct restore_dirs *dirs, const char *name, struct node *node)
{
	const int above = restore_dirs_current(dirs)->held.fd;
	const bool is_new = mkdirat(above, name, 0700) == 0;
	int fd, r;

	if (!is_new && errno != EEXIST)
		return -errno;
	fd = openat(above, name, OPEN_DIRECTORY);
	if (fd < 0)
		return -errno;
	if (!is_new) {
		begin_filling(fd);
		restore_remove_temporaries(fd);
	}
	r = push(dirs, fd, name);
	if (r < 0)
		return r;
	describe(restore_dirs_current(dirs), node);
	atomic_fetch_add(&dirs->transfer->directories, 1);
	return 0;
}

void restore_dirs_describe_top(struct restore_dirs *dirs, struct node *node)
{
	struct restore_dir *top = (struct restore_dir *)held_dirs_top(&dirs->dirs);

	begin_filling(top->held.fd);
	describe(top, node);
}

/* --- up --- */

static void leave(struct restore_dirs *dirs, struct restore_target *target)
{
	struct held_dir *dir;
	int r = held_dirs_pop(&dirs->dirs, !transfer_stopped(dirs->transfer), &dir);

	if (dirs->dirs.stack.count > 0)
		dirs->path.len = restore_dirs_current(dirs)->path_len;
	if (r < 0)
		transfer_fail(dirs->transfer, r, "%s was changed by somebody else meanwhile: %s", dirs->options->target,
		              r == -ESTALE ? "a directory was moved" : error_text(r));
	restore_dir_let_go(dirs, target, (struct restore_dir *)dir);
}

const char *restore_dirs_go_to(struct restore_dirs *dirs, struct restore_target *target, const char *path)
{
	const char *slash = strrchr(path, '/');
	const size_t len = slash ? (size_t)(slash - path) : 0;
	const struct held_dirs *all = &dirs->dirs;
	size_t at = all->stack.count;

	while (at > 0 && ((struct restore_dir *)all->stack.items[at - 1])->path_len != len)
		at--;
	if (at == 0 || memcmp(dirs->path.data, path, len) != 0)
		return NULL;
	while (all->stack.count > at)
		leave(dirs, target);
	return slash ? slash + 1 : path;
}

void restore_dirs_leave_all(struct restore_dirs *dirs, struct restore_target *target)
{
	while (dirs->dirs.stack.count > 0)
		leave(dirs, target);
}

/* --- the whole --- */

void restore_dirs_init(struct restore_dirs *dirs, const struct restore_options *options, struct transfer *transfer)
{
	*dirs = (struct restore_dirs){.options = options, .transfer = transfer};
	held_dirs_init(&dirs->dirs);
	buf_reserve(&dirs->path, 1);
}

int restore_dirs_begin(struct restore_dirs *dirs)
{
	const int top = fcntl(dirs->options->target_fd, F_DUPFD_CLOEXEC, 3);
	int r = top < 0 ? -errno : push(dirs, top, NULL);

	if (r == 0)
		restore_remove_temporaries(top);
	return r;
}

void restore_dirs_clear(struct restore_dirs *dirs)
{
	held_dirs_clear(&dirs->dirs);
	buf_clear(&dirs->path);
	target_sync_clear(&dirs->sync);
}
