#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/resource.h>

#include "dataset_store.h"
#include "lost_extent.h"
#include "lib/transfer/export.h"
#include "lib/transfer/view_walk.h"
#include "lib/transfer/warm.h"
#include "lib/tree/records/version.h"

#define DEEP 35000 /* as "d/" each, longer than any name in a zip */
#define FEW_DESCRIPTORS 200

static int setup(void **state)
{
	static struct place place;
	struct error err = {0};

	place_init(&place);
	assert_int_equal(dataset_create(place.store, "d", 0755, 0, 0, 1, &err), 0);
	*state = &place;
	return 0;
}

static int teardown(void **state)
{
	place_clear(*state);
	return 0;
}

static uint64_t make(struct view *view, uint64_t dir, const char *name, uint32_t mode)
{
	struct create create = {.mode = mode};
	struct attr attr;

	assert_int_equal(view_create(view, dir, name, &create, &attr, NULL), 0);
	return attr.ino;
}

/* A chain of directories "d", in every thousandth a file "f", all of them names of one file. */
static void make_deep(struct place *place)
{
	struct view *view = open_head(place->store, "d");
	uint64_t dir = ROOT_INO, file = make(view, ROOT_INO, "f", S_IFREG | 0644);
	struct attr attr;

	for (unsigned i = 1; i <= DEEP; i++) {
		dir = make(view, dir, "d", S_IFDIR | 0755);
		if (i % 1000 == 0)
			assert_int_equal(view_link(view, file, dir, "f", &attr), 0);
	}
	store_view_put(place->store, view);
}

struct told {
	unsigned problems;
	size_t longest;
};

static void note_problem(void *arg, const char *path, int code, const char *text)
{
	struct told *told = arg;

	told->problems++;
	told->longest = MAX(told->longest, strlen(path));
}

static int export_as(struct place *place, struct transfer_options who, int fd, const char *format, struct told *told,
		     struct transfer_counts *counts)
{
	struct export_options options = {.source = "d", .path = "", .target = "target", .target_fd = fd, .format = format, .transfer = who};
	struct error err = {0};
	int r;

	options.transfer.problem = note_problem;
	options.transfer.arg = told;
	r = export_run(place->store, &options, counts, &err);
	if (r < 0)
		print_error("%s\n", err.text);
	return r;
}

static int export(struct place *place, int fd, const char *format, struct told *told, struct transfer_counts *counts)
{
	return export_as(place, (struct transfer_options){.uid = geteuid(), .gid = getegid()}, fd, format, told, counts);
}

static int setup_deep(void **state)
{
	setup(state);
	make_deep(*state);
	return 0;
}

/* In memory: many disks take minutes to remove a deep tree. */
static char target[32];

static int open_target(void)
{
	int fd;

	snprintf(target, sizeof(target), "/dev/shm/corpusfs-test-XXXXXX");
	assert_non_null(mkdtemp(target));
	fd = open(target, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	assert_true(fd >= 0);
	return fd;
}

static void set_descriptors(rlim_t number)
{
	struct rlimit limit;

	assert_int_equal(getrlimit(RLIMIT_NOFILE, &limit), 0);
	limit.rlim_cur = MIN(number, limit.rlim_max);
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &limit), 0);
}

static void assert_deep(int fd)
{
	int at = fcntl(fd, F_DUPFD_CLOEXEC, 3);
	struct stat st, first;

	assert_int_equal(fstatat(at, "f", &first, 0), 0);
	assert_int_equal(first.st_nlink, 1 + DEEP / 1000);
	for (unsigned i = 1; i <= DEEP; i++) {
		int below = openat(at, "d", O_RDONLY | O_DIRECTORY | O_CLOEXEC);

		assert_true(below >= 0);
		close(at);
		at = below;
		assert_int_equal(fstat(at, &st), 0);
		assert_int_equal(st.st_mode & 07777, 0755);
		if (i % 1000 == 0) {
			assert_int_equal(fstatat(at, "f", &st, 0), 0);
			assert_int_equal(st.st_ino, first.st_ino);
		}
	}
	close(at);
}

static void a_deep_tree_goes_out_with_few_descriptors(void **state)
{
	struct place *place = *state;
	AUTO_CLOSE int fd = open_target();
	struct transfer_counts counts;
	struct told told = {0};

	set_descriptors(FEW_DESCRIPTORS);
	assert_int_equal(export(place, fd, "dir", &told, &counts), 0);
	set_descriptors(RLIM_INFINITY);
	assert_int_equal(told.problems, 0);
	assert_int_equal(counts.directories, DEEP);
	assert_int_equal(counts.files, 1);
	assert_int_equal(counts.links, DEEP / 1000);
	assert_deep(fd);
	remove_tree(target);
}

static void a_deep_tree_becomes_an_archive(void **state)
{
	struct place *place = *state;
	AUTO_CLOSE int fd = open("/dev/null", O_WRONLY | O_CLOEXEC);
	struct transfer_counts counts;
	struct told told = {0};

	assert_int_equal(export(place, fd, "tar", &told, &counts), 0);
	assert_int_equal(told.problems, 0);
	assert_int_equal(counts.directories, DEEP);
	assert_int_equal(counts.links, DEEP / 1000);
}

static void what_a_zip_cannot_name_is_told_in_short(void **state)
{
	struct place *place = *state;
	AUTO_CLOSE int fd = open("/dev/null", O_WRONLY | O_CLOEXEC);
	struct transfer_counts counts;
	struct told told = {0};

	assert_int_equal(export(place, fd, "zip", &told, &counts), 0);
	assert_true(told.problems > 0 && told.problems == counts.problems);
	assert_true(told.longest < 5000);
	/* "./", "d/" each, and the last one's '/' */
	assert_int_equal(counts.directories, (65535 - 2) / 2);
}

static void a_deep_tree_is_warmed(void **state)
{
	struct place *place = *state;
	struct warm_options options = {.source = "d", .path = "", .transfer = {.uid = geteuid(), .gid = getegid()}};
	struct warm_result result;
	struct error err = {0};

	assert_int_equal(warm_run(place->store, &options, &result, &err), 0);
	assert_int_equal(result.files, 1 + DEEP / 1000);
}

/* --- the walk --- */

static void a_walk_meets_all_in_the_order_of_names(void **state)
{
	struct place *place = *state;
	struct view *view = open_head(place->store, "d");
	struct view_walk_step step;
	struct view_walk *walk;
	uint64_t dir = make(view, ROOT_INO, "b", S_IFDIR | 0755);
	char name[16], last[16] = "";
	unsigned files = 0;

	make(view, ROOT_INO, "a", S_IFREG | 0644);
	make(view, ROOT_INO, "c", S_IFDIR | 0755);
	for (unsigned i = 0; i < 5000; i++) {
		snprintf(name, sizeof(name), "%u", i);
		make(view, dir, name, S_IFREG | 0644);
	}
	walk = view_walk_new(view, ROOT_INO, true);
	assert_true(view_walk_next(walk, &step) && step.kind == VIEW_WALK_FILE);
	assert_string_equal(step.path, "a");
	assert_true(view_walk_next(walk, &step) && step.kind == VIEW_WALK_ENTER);
	assert_string_equal(step.path, "b");
	while (view_walk_next(walk, &step) && step.kind == VIEW_WALK_FILE) {
		assert_true(strcmp(last, step.name) < 0);
		assert_true(strncmp(step.path, "b/", 2) == 0 && strcmp(step.path + 2, step.name) == 0);
		snprintf(last, sizeof(last), "%s", step.name);
		files++;
	}
	assert_int_equal(files, 5000);
	assert_true(step.kind == VIEW_WALK_LEAVE);
	assert_string_equal(step.path, "b");
	assert_true(view_walk_next(walk, &step) && step.kind == VIEW_WALK_ENTER);
	assert_string_equal(step.path, "c");
	view_walk_skip(walk);
	assert_false(view_walk_next(walk, &step));
	assert_false(view_walk_next(walk, &step));
	view_walk_free(walk);
	store_view_put(place->store, view);
}

static void a_walk_says_what_went_away(void **state)
{
	struct place *place = *state;
	struct view *view = open_head(place->store, "d");
	struct view_walk_step step;
	struct view_walk *walk;

	make(view, ROOT_INO, "a", S_IFREG | 0644);
	make(view, ROOT_INO, "b", S_IFREG | 0644);
	walk = view_walk_new(view, ROOT_INO, true);
	assert_true(view_walk_next(walk, &step));
	assert_int_equal(view_unlink(view, ROOT_INO, "b"), 0);
	assert_true(view_walk_next(walk, &step) && step.kind == VIEW_WALK_FAILED);
	assert_string_equal(step.path, "b");
	assert_int_equal(step.code, -ESTALE);
	assert_false(view_walk_next(walk, &step));
	view_walk_free(walk);
	store_view_put(place->store, view);
}

/* --- whose rights --- */

#define USER 12345
#define GROUP 4321

static int open_shared(struct place *place, gid_t group)
{
	AUTO_FREE char *path = xasprintf("%s/shared", place->dir);
	int fd;

	assert_int_equal(chmod(place->dir, 0711), 0);
	assert_int_equal(mkdir(path, 0), 0);
	assert_int_equal(chown(path, 0, group), 0);
	assert_int_equal(chmod(path, 0770), 0);
	fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	assert_true(fd >= 0);
	return fd;
}

static void make_for_others(struct view *view)
{
	static const uint8_t capability[20] = {0, 0, 0, 2, 0, 0x20};
	const struct xattr_init xattr = {.name = "security.capability", .value = capability, .len = sizeof(capability)};
	const struct create setuid = {.mode = S_IFREG | 04755, .uid = 1}, capable = {.mode = S_IFREG | 0755, .xattrs = &xattr, .xattr_count = 1};
	const struct create device = {.mode = S_IFCHR | 0666, .rdev = 0x103};
	struct attr attr;

	make(view, ROOT_INO, "plain", S_IFREG | 0644);
	assert_int_equal(view_create(view, ROOT_INO, "setuid", &setuid, &attr, NULL), 0);
	assert_int_equal(view_create(view, ROOT_INO, "capable", &capable, &attr, NULL), 0);
	assert_int_equal(view_create(view, ROOT_INO, "device", &device, &attr, NULL), 0);
}

/* On a thread of its own, which keeps what it became. */
struct by_user {
	struct place *place;
	const gid_t *groups;
	size_t group_count;
	int fd;
	struct told told;
	struct transfer_counts counts;
	int result;
};

static void *export_by_user(void *arg)
{
	struct by_user *by = arg;
	const struct transfer_options who = {.uid = USER, .gid = USER, .groups = by->groups, .group_count = by->group_count};

	by->result = export_as(by->place, who, by->fd, "dir", &by->told, &by->counts);
	return NULL;
}

static void run_by_user(struct by_user *by)
{
	pthread_t thread;

	assert_int_equal(pthread_create(&thread, NULL, export_by_user, by), 0);
	assert_int_equal(pthread_join(thread, NULL), 0);
}

static void root_exports_for_a_user_with_the_user_s_rights(void **state)
{
	static const gid_t groups[] = {GROUP};
	struct place *place = *state;
	struct view *view = open_head(place->store, "d");
	struct by_user by = {.place = place, .groups = groups, .group_count = 1};
	struct stat st;

	if (geteuid() != 0)
		skip();
	make_for_others(view);
	store_view_put(place->store, view);
	by.fd = open_shared(place, GROUP);
	run_by_user(&by);
	assert_int_equal(by.result, 0);
	/* Two have lost what a user cannot give, one is not there, and the directory stays root's. */
	assert_int_equal(by.told.problems, 4);
	assert_int_equal(by.counts.files, 3);
	assert_int_equal(fstatat(by.fd, "plain", &st, 0), 0);
	assert_int_equal(st.st_uid, USER);
	assert_int_equal(fstatat(by.fd, "setuid", &st, 0), 0);
	assert_int_equal(st.st_uid, USER);
	assert_int_equal(st.st_mode & 07777, 0755);
	assert_int_equal(fstatat(by.fd, "device", &st, 0), -1);
	close(by.fd);
}

static void root_exports_nothing_where_the_user_may_not_write(void **state)
{
	struct place *place = *state;
	struct view *view = open_head(place->store, "d");
	struct by_user by = {.place = place};
	struct stat st;

	if (geteuid() != 0)
		skip();
	make(view, ROOT_INO, "plain", S_IFREG | 0644);
	store_view_put(place->store, view);
	by.fd = open_shared(place, GROUP);
	run_by_user(&by);
	assert_int_equal(by.result, -EACCES);
	assert_int_equal(fstatat(by.fd, "plain", &st, 0), -1);
	close(by.fd);
}

static void a_file_that_lost_an_extent_is_a_problem_and_not_zeros(void **state)
{
	static const char *const formats[] = {"dir", "tar"};
	struct place *place = *state;
	AUTO_FREE char *directory = xasprintf("%s/out", place->dir);

	lose_a_piece(place);
	assert_int_equal(mkdir(directory, 0755), 0);
	for (size_t i = 0; i < ARRAY_SIZE(formats); i++) {
		struct transfer_counts counts = {0};
		struct told told = {0};
		int fd = i == 0 ? open(directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC) : memfd_create("archive", MFD_CLOEXEC);
		int result = export(place, fd, formats[i], &told, &counts);

		assert_true(result < 0 || told.problems == 1);
		close(fd);
	}
}

/* The file is told of once, and not as something that stands in the target only. */
static void an_export_that_goes_on_knows_the_name_of_a_damaged_file(void **state)
{
	struct place *place = *state;
	struct view *view = open_head(place->store, "d");
	const struct tree_key hurt = tree_stem_inode(view_family(view), make(view, ROOT_INO, "hurt", S_IFREG | 0644));
	AUTO_FREE char *mark = xasprintf("%s %u 0 ", store_superblock(place->store)->uuid, view_number(view));
	AUTO_CLOSE int fd = open_target();
	struct kv_batch *batch = kv_batch_new();
	struct transfer_counts counts;
	struct told told = {0};

	assert_int_equal(export(place, fd, "dir", &told, &counts), 0);
	version_put(view, batch, &hurt, 0, "x", 1);
	assert_int_equal(kv_write(store_kv(place->store), batch, 0), 0);
	kv_batch_free(batch);
	store_view_put(place->store, view);
	place_reopen(place);
	AUTO_CLOSE int left = openat(fd, ".corpusfs-export", O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	assert_int_equal(write(left, mark, strlen(mark)), strlen(mark));
	assert_int_equal(told.problems, 0);
	assert_int_equal(export(place, fd, "dir", &told, &counts), 0);
	assert_int_equal(told.problems, 1);
	remove_tree(target);
}

#define FRESH(test) cmocka_unit_test_setup_teardown(test, setup, teardown)

int main(void)
{
	const struct CMUnitTest deep[] = {
		cmocka_unit_test(a_deep_tree_goes_out_with_few_descriptors),
		cmocka_unit_test(a_deep_tree_becomes_an_archive),
		cmocka_unit_test(what_a_zip_cannot_name_is_told_in_short),
		cmocka_unit_test(a_deep_tree_is_warmed),
	};
	const struct CMUnitTest walk[] = {
		FRESH(a_walk_meets_all_in_the_order_of_names),
		FRESH(a_walk_says_what_went_away),
		FRESH(a_file_that_lost_an_extent_is_a_problem_and_not_zeros),
		FRESH(an_export_that_goes_on_knows_the_name_of_a_damaged_file),
	};

	const struct CMUnitTest rights[] = {
		FRESH(root_exports_for_a_user_with_the_user_s_rights),
		FRESH(root_exports_nothing_where_the_user_may_not_write),
	};

	return cmocka_run_group_tests(deep, setup_deep, teardown) + cmocka_run_group_tests(walk, NULL, NULL) +
	       cmocka_run_group_tests(rights, NULL, NULL);
}
