#include "fs/cli/remotes.h"

#include <errno.h>
#include <fcntl.h>
#include <pwd.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "lib/base/buf.h"
#include "lib/base/clock.h"
#include "lib/base/file.h"
#include "lib/base/shell.h"
#include "lib/base/trusted.h"

#define FILE_MAX (1U << 20)
#define NAME_MAX_LEN 64
#define OTHERS_MS 5000 /* for others who change it: they are done in an instant */
#define OTHERS_STEP_US 20000
#define LETTERS "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"

const struct remote_setting remote_settings[] = {
	{"password_file", "password-file", true},       {"password_command", "password-command", false},
	{"credentials_file", "credentials-file", true}, {"credentials_command", "credentials-command", false},
	{"profile", "profile", false},                  {"region", "region", false},
	{"ca_file", "ca-file", true},                   {"etcd", "etcd", false},
	{"etcd_ca_file", "etcd-ca-file", true},         {"etcd_client_file", "etcd-client-file", true},
	{"etcd_credentials_file", "etcd-credentials-file", true},
	{"etcd_credentials_command", "etcd-credentials-command", false},
	{NULL, NULL, false},
};

/* How many letters of the text could be a remote's name. */
static size_t name_length(const char *text)
{
	const size_t len = strspn(text, LETTERS "._-");

	return len > 0 && len <= NAME_MAX_LEN && strchr(LETTERS, text[0]) ? len : 0;
}

static bool is_scheme(const char *name, size_t len)
{
	return (len == 2 && memcmp(name, "s3", len) == 0) || (len == 4 && memcmp(name, "rest", len) == 0) ||
	       (len == 6 && memcmp(name, "restic", len) == 0);
}

static int name_check(const char *name, struct error *err)
{
	const size_t len = name_length(name);

	if (len == 0 || name[len])
		return error_set(err, -EINVAL, "\"%s\" cannot be the name of a remote: letters, digits, dots, dashes and underscores, %d at most", name,
				 NAME_MAX_LEN);
	if (is_scheme(name, len))
		return error_set(err, -EINVAL, "\"%s\" cannot be the name of a remote: repositories are named %s:...", name, name);
	return 0;
}

/* NULL: this user has no home. */
static char *path_of_file(void)
{
	const char *named = getenv("CORPUSFS_REMOTES"), *config = getenv("XDG_CONFIG_HOME"), *home = getenv("HOME");

	if (named && *named)
		return xstrdup(named);
	if (config && *config == '/')
		return xasprintf("%s/corpusfs/remotes", config);
	if (!home) { /* at boot, for example */
		const struct passwd *user = getpwuid(geteuid());

		home = user ? user->pw_dir : NULL;
	}
	return home && *home ? xasprintf("%s/.config/corpusfs/remotes", home) : NULL;
}

/* It says which commands are run. */
static int check_owner(int fd, const char *path, struct error *err)
{
	struct stat st;

	if (fstat(fd, &st) < 0)
		return error_set(err, -errno, "%s: %s", path, strerror(errno));
	if (!S_ISREG(st.st_mode))
		return error_set(err, -EUCLEAN, "%s is no file", path);
	if (st.st_uid != geteuid() && st.st_uid != 0) {
		(void)error_set(err, -EPERM, "%s belongs to user %u, who could have commands run for you", path, (unsigned)st.st_uid);
		error_hint(err, "name a file of your own in the variable CORPUSFS_REMOTES");
		return -EPERM;
	}
	if (st.st_mode & 022)
		return error_set(err, -EPERM, "others can write to %s, and have commands run for you: chmod 600 it", path);
	return 0;
}

static int parse(const char *path, const struct buf *content, json_t **ret_remotes, struct error *err)
{
	json_error_t where;
	json_t *file = json_loadb((const char *)content->data, content->len, JSON_REJECT_DUPLICATES, &where), *remotes, *remote;
	const char *name;
	bool is_good;

	if (!file)
		return error_set(err, -EBADMSG, "%s, line %d: %s", path, where.line, where.text);
	remotes = json_object_get(file, "remotes");
	is_good = json_is_object(remotes);
	json_object_foreach(remotes, name, remote)
		is_good = is_good && json_is_string(json_object_get(remote, "url"));
	if (is_good)
		*ret_remotes = json_incref(remotes);
	json_decref(file);
	return is_good ? 0 : error_set(err, -EBADMSG, "%s is no list of remotes, each with its url", path);
}

static int read_path(const char *path, json_t **ret_remotes, struct error *err)
{
	AUTO_CLOSE int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	AUTO_BUF content = BUF_INIT;
	int r;

	if (fd < 0 && (errno == ENOENT || errno == ENOTDIR)) {
		*ret_remotes = json_object();
		return 0;
	}
	if (fd < 0)
		return error_set(err, -errno, "the remotes in %s cannot be read: %s", path, strerror(errno));
	r = check_owner(fd, path, err);
	if (r < 0)
		return r;
	r = file_read_from_start(fd, FILE_MAX, &content);
	return r < 0 ? error_set(err, r, "the remotes in %s cannot be read: %s", path, error_text(r)) : parse(path, &content, ret_remotes, err);
}

int remotes_read(json_t **ret_remotes, struct error *err)
{
	AUTO_FREE char *path = path_of_file();

	if (path)
		return read_path(path, ret_remotes, err);
	*ret_remotes = json_object();
	return 0;
}

/* --- changing --- */

/* A link may stand in its place, of who keeps all such files elsewhere: then that file is meant. */
static int follow_link(char **path, bool *ret_is_link, struct error *err)
{
	struct stat st;
	char *target;

	*ret_is_link = lstat(*path, &st) == 0 && S_ISLNK(st.st_mode);
	if (!*ret_is_link)
		return 0;
	if (st.st_uid != geteuid() && st.st_uid != 0)
		return error_set(err, -EPERM, "the link %s belongs to user %u, who could have commands run for you", *path, (unsigned)st.st_uid);
	target = realpath(*path, NULL);
	if (!target) {
		(void)error_set(err, -errno, "the link %s leads to nothing that can be used: %s", *path, strerror(errno));
		error_hint_shell(err, "rm %s", *path);
		return err->code;
	}
	free(*path);
	*path = target;
	return 0;
}

static int wait_for_others(int folder, const char *path, struct error *err)
{
	const uint64_t until = clock_ms() + OTHERS_MS;

	while (flock(folder, LOCK_EX | LOCK_NB) < 0) {
		if (errno != EWOULDBLOCK && errno != EINTR)
			return error_set(err, -errno, "%s cannot be locked: %s", path, strerror(errno));
		if (clock_ms() >= until) {
			(void)error_set(err, -EBUSY, "the remotes in %s are being changed by another process, which does not come to an end", path);
			error_hint(err, "fuser -v on the directory of that file says which it is");
			return -EBUSY;
		}
		clock_pause_us(OTHERS_STEP_US);
	}
	return 0;
}

/* Makes the directories above the file, and locks the one it is in: nobody else changes the file then. */
static int lock_folder(const char *path, bool is_link, int *ret_fd, struct error *err)
{
	AUTO_FREE char *folder = xstrdup(path);
	char *slash = strrchr(folder, '/');
	int r;

	if (slash == folder || !slash)
		return error_set(err, -EINVAL, "%s: the file of remotes needs a directory of its own", path);
	*slash = '\0';
	for (char *at = folder + 1; *at; at++) {
		if (*at != '/')
			continue;
		*at = '\0';
		(void)!mkdir(folder, 0700);
		*at = '/';
	}
	(void)!mkdir(folder, 0700);
	/* Where a link has led, root overwrites nothing that others can put there. */
	if (is_link)
		r = trusted_open(folder, ret_fd, err);
	else
		r = (*ret_fd = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC)) < 0 ? -errno : 0;
	if (r < 0)
		return error_default(err, r, "%s", folder);
	return wait_for_others(*ret_fd, path, err);
}

static int write_path(const char *path, json_t *remotes, struct error *err)
{
	json_t *file = json_pack("{s:O}", "remotes", remotes);
	char *text = json_dumps(file, JSON_INDENT(2));
	AUTO_FREE char *lines = text ? xasprintf("%s\n", text) : NULL;
	int r = lines ? file_replace(path, lines, strlen(lines), 0600) : -ENOMEM;

	free(text);
	json_decref(file);
	return r < 0 ? error_set(err, r, "the remotes in %s cannot be written: %s", path, error_text(r)) : 0;
}

static int apply(json_t *remotes, const char *name, json_t *remote, struct error *err)
{
	const bool is_there = json_object_get(remotes, name) != NULL;

	if (remote && is_there) {
		(void)error_set(err, -EEXIST, "there is a remote \"%s\" already", name);
		error_hint_shell(err, "corpusfs remote show %s", name);
		return -EEXIST;
	}
	if (!remote && !is_there)
		return error_set(err, -ENOENT, "there is no remote \"%s\"", name);
	if (remote)
		json_object_set(remotes, name, remote);
	else
		json_object_del(remotes, name);
	return 0;
}

int remotes_change(const char *name, json_t *remote, struct error *err)
{
	AUTO_FREE char *path = path_of_file();
	AUTO_CLOSE int folder = -1;
	json_t *remotes = NULL;
	bool is_link;
	int r = name_check(name, err);

	if (r == 0 && !path)
		r = error_set(err, -ENOENT, "there is no place for remotes: neither CORPUSFS_REMOTES nor HOME is set");
	if (r == 0)
		r = follow_link(&path, &is_link, err);
	if (r == 0)
		r = lock_folder(path, is_link, &folder, err);
	if (r == 0)
		r = read_path(path, &remotes, err);
	if (r == 0)
		r = apply(remotes, name, remote, err);
	if (r == 0)
		r = write_path(path, remotes, err);
	json_decref(remotes);
	json_decref(remote);
	return r;
}

/* --- finding --- */

int remote_find(const char *text, json_t **ret_remote, const char **ret_rest, struct error *err)
{
	const size_t len = name_length(text);
	json_t *remotes, *remote;
	int r;

	if (len == 0 || text[len] != ':' || is_scheme(text, len))
		return 0;
	AUTO_FREE char *name = strndup(text, len);
	r = remotes_read(&remotes, err);
	if (r < 0)
		return r;
	remote = json_object_get(remotes, name);
	if (remote && ret_remote)
		*ret_remote = json_incref(remote);
	if (remote && ret_rest)
		*ret_rest = text + len + 1;
	json_decref(remotes);
	return remote ? 1 : 0;
}

int remote_get(const char *name, json_t **ret_remote, struct error *err)
{
	json_t *remotes, *remote;
	int r = remotes_read(&remotes, err);

	if (r < 0)
		return r;
	remote = json_object_get(remotes, name);
	if (remote)
		*ret_remote = json_incref(remote);
	else
		r = error_set(err, -ENOENT, "there is no remote \"%s\"", name);
	json_decref(remotes);
	if (r < 0)
		error_hint(err, "corpusfs remote list shows those there are, corpusfs remote add NAME URL makes one");
	return r;
}

bool remote_has_password(const char *text)
{
	json_t *remote = NULL;
	const bool has = remote_find(text, &remote, NULL, NULL) > 0 &&
			 (json_object_get(remote, "password_file") || json_object_get(remote, "password_command"));

	json_decref(remote);
	return has;
}
