#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include "lib/base/buf.h"
#include "lib/base/file.h"
#include "lib/base/trusted.h"

#define SOMEBODY 12345

static char top[64];

static char *below(const char *name)
{
	return xasprintf("%s/%s", top, name);
}

static void make(const char *name, uid_t owner, mode_t mode)
{
	AUTO_FREE char *path = below(name);

	assert_int_equal(mkdir(path, 0700), 0);
	assert_int_equal(chown(path, owner, owner), 0);
	assert_int_equal(chmod(path, mode), 0);
}

static void link_to(const char *target, const char *name, uid_t owner)
{
	AUTO_FREE char *path = below(name);

	assert_int_equal(symlink(target, path), 0);
	assert_int_equal(lchown(path, owner, owner), 0);
}

static int open_result(const char *name, struct error *err)
{
	AUTO_FREE char *path = below(name);
	int fd = -1, result = trusted_open(path, &fd, err);

	if (fd >= 0)
		close(fd);
	return result;
}

static int set_up(void **state)
{
	if (geteuid() != 0)
		return 0;
	snprintf(top, sizeof(top), "/tmp/corpusfs-test-XXXXXX");
	return mkdtemp(top) ? 0 : -1;
}

static int tear_down(void **state)
{
	pid_t pid = top[0] ? fork() : -1;

	if (pid == 0) {
		execlp("rm", "rm", "-rf", top, (char *)NULL);
		_exit(1);
	}
	if (pid > 0)
		waitpid(pid, NULL, 0);
	return 0;
}

/* Only root is checked, and only root can make other users' directories. */
static void need_root(void)
{
	if (geteuid() != 0)
		skip();
}

static void a_directory_of_root_s_is_opened(void **state)
{
	struct error err = {0};

	need_root();
	make("good", 0, 0755);
	link_to("good", "link", 0);
	AUTO_FREE char *target = below("good");
	link_to(target, "absolute", 0);
	assert_int_equal(open_result("good", &err), 0);
	assert_int_equal(open_result("link", &err), 0);
	assert_int_equal(open_result("absolute", &err), 0);
	assert_int_equal(open_result("good/../good/./", &err), 0);
	assert_int_equal(open_result("none", &err), -ENOENT);
	assert_int_equal(err.code, 0);
}

static void what_others_can_write_is_refused(void **state)
{
	static const struct {
		const char *name;
		uid_t owner;
		mode_t mode;
	} bad[] = {{"theirs", SOMEBODY, 0700}, {"group", 0, 0775}, {"all", 0, 0757}, {"sticky", 0, 01777}};

	need_root();
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		struct error err = {0};
		make(bad[i].name, bad[i].owner, bad[i].mode);
		assert_int_equal(open_result(bad[i].name, &err), -EPERM);
		assert_non_null(strstr(err.text, bad[i].name));
	}
}

static void every_directory_on_the_way_counts(void **state)
{
	struct error err = {0};

	need_root();
	make("u", SOMEBODY, 0755);
	make("u/store", 0, 0700);
	assert_int_equal(open_result("u/store", &err), -EPERM);
	make("open", 0, 0777);
	make("open/store", 0, 0700);
	assert_int_equal(open_result("open/store", &err), -EPERM);
	/* As in /tmp: who may make names there cannot take away those of others. */
	make("tmp", 0, 01777);
	make("tmp/store", 0, 0700);
	assert_int_equal(open_result("tmp/store", &err), 0);
	assert_int_equal(open_result("open/../tmp/store", &err), -EPERM);
}

static void a_link_counts_like_a_directory(void **state)
{
	struct error err = {0};

	need_root();
	make("target", 0, 0700);
	link_to("target", "their-link", SOMEBODY);
	assert_int_equal(open_result("their-link", &err), -EPERM);
	make("places", 0, 01777);
	link_to("../target", "places/ours", 0);
	link_to("../target", "places/theirs", SOMEBODY);
	assert_int_equal(open_result("places/ours", &err), 0);
	assert_int_equal(open_result("places/theirs", &err), -EPERM);
	make("theirs-too", SOMEBODY, 0755);
	link_to("theirs-too", "ours", 0);
	assert_int_equal(open_result("ours", &err), -EPERM);
	link_to("circle", "circle", 0);
	assert_int_equal(open_result("circle", &err), -ELOOP);
}

static void only_regular_files_are_opened_inside(void **state)
{
	AUTO_BUF content = BUF_INIT;
	char dir[] = "/tmp/corpusfs-test-XXXXXX";

	assert_non_null(mkdtemp(dir));
	AUTO_CLOSE int fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	AUTO_CLOSE int file = file_open_inside(fd, "file", O_RDWR | O_CREAT, 0600);
	assert_true(file >= 0);
	assert_int_equal(symlinkat("file", fd, "link"), 0);
	assert_int_equal(mkfifoat(fd, "fifo", 0600), 0);
	assert_int_equal(mkdirat(fd, "dir", 0700), 0);
	assert_int_equal(file_read_inside(fd, "file", 10, &content), 0);
	assert_int_equal(file_read_inside(fd, "link", 10, &content), -EUCLEAN);
	assert_int_equal(file_read_inside(fd, "fifo", 10, &content), -EUCLEAN);
	assert_int_equal(file_read_inside(fd, "dir", 10, &content), -EUCLEAN);
	assert_int_equal(file_open_inside(fd, "fifo", O_WRONLY, 0), -EUCLEAN);
	assert_int_equal(file_read_inside(fd, "none", 10, &content), -ENOENT);
	snprintf(top, sizeof(top), "%s", dir);
	tear_down(NULL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(a_directory_of_root_s_is_opened, set_up, tear_down),
		cmocka_unit_test_setup_teardown(what_others_can_write_is_refused, set_up, tear_down),
		cmocka_unit_test_setup_teardown(every_directory_on_the_way_counts, set_up, tear_down),
		cmocka_unit_test_setup_teardown(a_link_counts_like_a_directory, set_up, tear_down),
		cmocka_unit_test(only_regular_files_are_opened_inside),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
