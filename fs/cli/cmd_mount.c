#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>

#include "fs/cli/cmd_backup_mount.h"
#include "fs/cli/command.h"
#include "fs/cli/exit.h"
#include "fs/cli/mount_lease.h"
#include "fs/cli/mount_options.h"
#include "fs/cli/remotes.h"
#include "fs/cli/run.h"
#include "fs/cli/say.h"
#include "fs/cli/units.h"
#include "fs/cli/waiting.h"
#include "fs/cli/where.h"
#include "fs/daemon/control/client.h"
#include "fs/daemon/serve/daemon.h"
#include "fs/daemon/serve/heritage.h"
#include "lib/base/file.h"
#include "lib/base/shell.h"
#include "lib/ops/json.h"
#include "lib/store/datasets.h"

struct request {
	char *store;      /* absolute */
	char *mountpoint; /* absolute */
	char *shown;      /* the source as the user gave it */
	json_t *args;     /* of mount.start */
	struct store_options store_options;
	struct mount_lease lease;
	bool foreground;
};

static void request_clear(struct request *request)
{
	free(request->store);
	free(request->mountpoint);
	free(request->shown);
	json_decref(request->args);
	mount_lease_clear(&request->lease);
}

/* --- the source: STORE[:DATASET[@NAME]] --- */

static int set_dataset(struct request *request, const char *text, struct error *err)
{
	AUTO_FREE char *dataset = xstrdup(text);
	char *snapshot = strchr(dataset, '@');
	int result;

	if (snapshot)
		*snapshot++ = '\0';
	result = dataset_name_check("dataset", dataset, err);
	if (result == 0 && snapshot)
		result = dataset_name_check("snapshot", snapshot, err);
	if (result < 0)
		return result;
	json_object_set_new(request->args, "dataset", json_from_bytes(dataset));
	if (snapshot) {
		json_object_set_new(request->args, "snapshot", json_from_bytes(snapshot));
		json_object_set_new(request->args, "read_only", json_true());
	}
	return 0;
}

/* A path may hold colons: the first one before which there is a directory ends it. */
static char *find_colon(char *source)
{
	struct stat st;
	char *last = NULL;

	if (stat(source, &st) == 0)
		return NULL;
	for (char *colon = strchr(source, ':'); colon; colon = strchr(colon + 1, ':')) {
		*colon = '\0';
		bool is_directory = stat(source, &st) == 0 && S_ISDIR(st.st_mode);
		*colon = ':';
		last = colon;
		if (is_directory)
			break;
	}
	return last;
}

/* What lies in a mount stands for its store elsewhere; here it would show more than was named. */
static int check_is_no_place(const char *source, const struct request *request, struct error *err)
{
	CLEANUP(where_inside_clear) struct where_inside inside = {0};
	AUTO_FREE char *absolute = where_absolute(source);
	int result = 0;

	if (absolute && where_mounted(absolute, NULL) != WHERE_OURS && where_inside(absolute, &inside) && strcmp(absolute, request->store) != 0) {
		result = error_set(err, -EINVAL, "%s lies in a mount of the store %s", source, request->store);
		error_hint_shell(err, "corpusfs mount %s DIRECTORY, or %s:DATASET for a part of it", request->store, request->store);
	}
	return result;
}

static int parse_source(struct cli *cli, const char *text, struct request *request, struct error *err)
{
	AUTO_FREE char *source = xstrdup(text);
	char *colon = find_colon(source);
	struct cli named = *cli;
	int result;

	request->shown = xstrdup(text);
	if (colon)
		*colon++ = '\0';
	named.store = source;
	result = run_find_store(&named, &request->store, err);
	if (result == 0)
		result = check_is_no_place(source, request, err);
	if (result == 0 && colon)
		result = set_dataset(request, colon, err);
	return result;
}

/* A single operand is the mountpoint. */
static int check_is_no_source(const char *text, struct error *err)
{
	AUTO_FREE char *source = xstrdup(text);
	char *colon = find_colon(source);

	if (colon)
		*colon = '\0';
	AUTO_FREE char *superblock = xasprintf("%s/" SUPERBLOCK_NAME, source);
	if (access(superblock, F_OK) < 0)
		return 0;
	error_set(err, -EINVAL, "the mountpoint is missing: where %s is to show", text);
	error_hint_shell(err, "corpusfs mount %s DIRECTORY", text);
	return -EINVAL;
}

/* --- the mountpoint --- */

static int check_empty(const char *path, struct error *err)
{
	DIR *dir = opendir(path);
	const char *name;
	int more = dir ? file_next_entry(dir, &name) : -errno;

	if (dir)
		closedir(dir);
	if (more < 0)
		return error_set(err, more, "mountpoint %s: %s", path, strerror(-more));
	if (more == 0)
		return 0;
	error_set(err, -ENOTEMPTY, "mountpoint %s is not empty", path);
	error_hint(err, "what is in it would be hidden: use an empty directory");
	return -ENOTEMPTY;
}

static int missing_mountpoint(const char *path, int code, struct error *err)
{
	if (code != -ENOENT)
		return error_set(err, code, "mountpoint %s: %s", path, error_text(code));
	error_set(err, code, "mountpoint %s does not exist", path);
	error_hint_shell(err, "mkdir %s", path);
	return code;
}

static int check_mountpoint(const char *text, struct request *request, struct error *err)
{
	char *path = request->mountpoint = where_absolute(text);
	struct stat st;
	int result;

	if (!path)
		return missing_mountpoint(text, -errno, err);
	result = where_remove_all_dead(path, err);
	if (result < 0)
		return result;
	if (where_mounted(path, NULL) == WHERE_OURS) {
		error_set(err, -EBUSY, "%s is mounted by corpusfs already", path);
		error_hint_shell(err, "corpusfs umount %s", path);
		return -EBUSY;
	}
	if (stat(path, &st) < 0)
		return missing_mountpoint(path, -errno, err);
	if (!S_ISDIR(st.st_mode))
		return error_set(err, -ENOTDIR, "mountpoint %s is not a directory", path);
	if (strncmp(path, request->store, strlen(request->store)) == 0 && strchr("/", path[strlen(request->store)]))
		return error_set(err, -EINVAL, "mountpoint %s lies in the store's own directory", path);
	return check_empty(path, err);
}

static int check_fuse(struct error *err)
{
	if (access("/dev/fuse", R_OK | W_OK) == 0)
		return 0;
	if (errno == EACCES || errno == EPERM) {
		error_set(err, -EACCES, "no permission for /dev/fuse");
		error_hint(err, "as root: chmod 666 /dev/fuse");
		return -EACCES;
	}
	error_set(err, -ENODEV, "there is no /dev/fuse");
	error_hint(err, "load the kernel's module with `modprobe fuse`, or give the container --device /dev/fuse");
	return -ENODEV;
}

/* --- mounting --- */

/* The daemon may live in another mount namespace, whose mounts do not show here. */
static int check_shows(struct request *request, struct client *client, struct error *err)
{
	json_t *args, *value = NULL;
	struct error ignored = {0};

	if (request->foreground || where_mounted(request->mountpoint, NULL) == WHERE_OURS)
		return 0;
	args = json_pack("{s:o, s:b}", "mountpoint", json_from_bytes(request->mountpoint), "lazy", true);
	(void)!client_call(client, "mount.stop", args, NULL, &value, &ignored);
	json_decref(args);
	json_decref(value);
	error_set(err, -EXDEV, "the daemon of this store lives in another mount namespace, and what it mounts does not show here");
	error_hint(err, "unmount the store there, and it can be mounted here");
	return -EXDEV;
}

/* Why the daemon that this starts will have no supervisor; NULL: it will. */
static const char *why_unsupervised(const struct request *request)
{
	if (request->foreground)
		return "it runs in the foreground";
	if (json_is_false(json_object_get(request->args, "supervise")))
		return "mounted with nosupervise";
	return heritage_possible() ? NULL : "the kernel is older than Linux 6.9";
}

/* Who asks for it by name would rather have no mount than one without. */
static int check_supervise(const struct request *request, struct error *err)
{
	if (!json_is_true(json_object_get(request->args, "supervise")))
		return 0;
	if (request->foreground)
		return error_set(err, -EINVAL, "a daemon in the foreground has no supervisor: leave out -f or supervise");
	if (heritage_possible())
		return 0;
	error_set(err, -EOPNOTSUPP, "supervise needs Linux 6.9 or newer");
	error_hint(err, "leave it out: the mount ends then when its daemon dies");
	return -EOPNOTSUPP;
}

static int join(struct request *request, struct client *client, struct error *err)
{
	AUTO_CLOSE int fd = open(request->mountpoint, O_PATH | O_DIRECTORY | O_CLOEXEC);
	json_t *value = NULL;
	int result;

	if (request->store_options.cache_bytes || request->store_options.write_buffer_bytes || json_object_get(request->args, "supervise"))
		fprintf(stderr, "corpusfs: the store is mounted already: cache=, write_buffer= and whether its daemon has a supervisor stay as its "
				"first mount set them\n");
	if (request->foreground)
		json_object_set_new(request->args, "wait", json_true());
	client_pass(client, fd);
	result = client_call(client, "mount.start", request->args, NULL, &value, err);
	json_decref(value);
	return result < 0 ? result : check_shows(request, client, err);
}

static int start(struct request *request, struct error *err)
{
	struct daemon_options options = {.store = request->store,
	                                 .store_options = request->store_options,
	                                 .foreground = request->foreground,
	                                 .unsupervised = why_unsupervised(request),
	                                 .mount = request->args};
	json_t *value = NULL;

	options.store_options.damaged = json_is_true(json_object_get(request->args, "read_only"));
	int result = daemon_start(&options, &value, err);

	json_decref(value);
	return result;
}

/* Joins the daemon that runs, or starts one; between the two somebody may come or leave. */
static int join_or_start(struct request *request, struct error *err)
{
	struct patience patience = {0};
	int result;

	for (;;) {
		struct client *client = NULL;
		*err = (struct error){0};
		result = client_connect(request->store, &client, err);
		if (result == 0) {
			struct waiting waiting;
			waiting_begin(&waiting, request->store, client);
			result = join(request, client, err);
			client_close(client);
			if (result != -ESHUTDOWN)
				return result;
		} else if (result == -ENOENT || result == -ECONNREFUSED) {
			bool locked = store_locked_by(request->store) != 0;
			if (!locked)
				result = start(request, err);
			/* Locked in the moment between: look again. A mountpoint that is busy is another matter. */
			if (!locked && (result != -EBUSY || store_locked_by(request->store) == 0))
				return result;
		} else {
			return result;
		}
		if (!run_wait(&patience, request->store))
			return start(request, err);
	}
}

/* Whoever mounts a store on a disk that is full, or too small, should not have to find out by writing. */
static void note_full(const struct request *request)
{
	struct error err = {0};
	struct statvfs disk;
	json_t *status = NULL;
	char left[UNITS_MAX];

	if (json_is_true(json_object_get(request->args, "read_only")) || json_string_length(json_object_get(request->args, "snapshot")) > 0 ||
	    run_op_at(request->store, "store.status", json_object(), NULL, &status, &err) < 0)
		return;
	if (json_integer_value(json_object_get(status, "free_bytes")) == 0 && !json_object_get(status, "read_only") &&
	    statvfs(request->store, &disk) == 0) {
		units_size((uint64_t)disk.f_bavail * disk.f_frsize, left);
		fprintf(stderr, "corpusfs: note: hardly anything can be written: the disk has %s free, which are kept in reserve; make room on it, or "
				"destroy snapshots that nobody needs and run corpusfs gc\n", left);
	}
	json_decref(status);
}

/* What was published in a remote. */
static int mount_remote(struct cli *cli)
{
	const char *colon = strchr(cli->argv[0], ':');
	struct error err = {0};

	if (colon[1] && colon[1] != '@' && !cli_option(cli, "foreground"))
		return backup_mount_run(cli);
	if (cli_option(cli, "foreground")) {
		(void)error_set(&err, -EINVAL, "what is in a remote is not mounted in the foreground");
	} else {
		(void)error_set(&err, -EINVAL, "%s: which dataset of the remote is not said", cli->argv[0]);
		error_hint(&err, "corpusfs remote list shows those there are, corpusfs backup mount shows all backups");
	}
	return exit_with(&err);
}

/*
 * The service whose command this is may have been killed as a whole: what was mounted then goes on, and nobody may look at it before. 1: so does
 * what is to be mounted.
 */
static int go_on(const struct cli *cli, struct error *err)
{
	int result = daemon_resume(err);

	if (result == -EXDEV) {
		fprintf(stderr, "corpusfs: %s\n", err->text);
		*err = (struct error){0};
		result = 0;
	}
	if (result <= 0)
		return result;
	AUTO_FREE char *mountpoint = where_absolute(cli->argv[cli->argc - 1]);
	return mountpoint && where_mounted(mountpoint, NULL) == WHERE_OURS;
}

static int run_mount(struct cli *cli)
{
	CLEANUP(request_clear)
	struct request request = {.args = json_object(), .foreground = cli_option(cli, "foreground") != NULL, .lease = MOUNT_LEASE_NONE};
	struct superblock superblock;
	struct error err = {0};
	int result = go_on(cli, &err);

	if (result > 0 && !cli->quiet)
		say("the mount at %s goes on\n", cli->argv[cli->argc - 1]);
	if (result != 0)
		return result > 0 ? EXIT_OK : exit_with(&err);
	result = cli->argc == 2 ? remote_find(cli->argv[0], NULL, NULL, &err) : 0;
	if (result > 0)
		return mount_remote(cli);
	for (int i = 0; i < cli->given_count && result == 0; i++)
		if (cli->given[i].option->letter == 'o')
			result = mount_options_parse(cli->given[i].value, request.args, &request.store_options, &err);
	if (json_is_true(json_object_get(request.args, "as_owner")))
		cli->as_owner = true;
	json_object_del(request.args, "as_owner");
	if (result == 0)
		result = mount_options_check_store(request.args, &err);
	if (result == 0 && cli->argc == 1)
		result = check_is_no_source(cli->argv[0], &err);
	if (result == 0 && cli->argc == 2)
		result = parse_source(cli, cli->argv[0], &request, &err);
	else if (result == 0)
		result = run_find_store(cli, &request.store, &err);
	if (result == 0)
		result = store_probe(request.store, &superblock, &err);
	if (result == 0)
		result = check_mountpoint(cli->argv[cli->argc - 1], &request, &err);
	if (result == 0)
		result = check_fuse(&err);
	if (result == 0)
		result = check_supervise(&request, &err);
	if (result == 0)
		result = mount_lease_prepare(cli, request.args, &request.lease, &err);
	if (result == 0) {
		json_object_set_new(request.args, "mountpoint", json_from_bytes(request.mountpoint));
		result = join_or_start(&request, &err);
	}
	if (result == 0)
		result = mount_lease_take(&request.lease, request.store, request.args, &err);
	if (result < 0)
		return exit_with(&err);
	if (!request.foreground && !cli->quiet)
		say("mounted %s on %s\n", request.shown ? request.shown : request.store, request.mountpoint);
	if (!request.foreground)
		note_full(&request);
	return EXIT_OK;
}

static const struct option mount_option_list[] = {
	{'f', "foreground", NULL, "stay in the foreground, log to standard error"},
	{'o', NULL, "OPTION,...", "mount options, see above"},
	OPTIONS_END,
};

const struct command mount_commands[] = {
	{.name = "mount",
         .operands = "STORE[:DATASET[@NAME]] MOUNTPOINT",
         .summary = "mount a store, a dataset or a snapshot",
         .details = "Returns when the mount answers. Mounts of one store share one daemon, which\n"
                    "leaves with the last of them. With -s STORE the first argument may be left out.\n"
                    "REMOTE:DATASET[@NAME] is what was published there, read-only: it answers at\n"
                    "once, and what is read is fetched.\n\n"
                    "Mount options:\n"
                    "  ro                  read-only (always so for a snapshot); what is left of a\n"
                    "                      damaged store, too\n"
                    "  salvage             ro, even if files may be missing from it or be old\n"
                    "  allow_other         for other users too\n"
                    "  as_owner            root: be the owner of the store, as with --as-owner\n"
                    "  acl                 POSIX access control lists\n"
                    "  snapdir=hidden      .snapshots can be entered but is not listed (default)\n"
                    "  snapdir=visible     .snapshots is listed\n"
                    "  snapdir=off         there is no .snapshots\n"
                    "  cache=SIZE          memory for caches (default 256M, or a sixteenth of the\n"
                    "                      memory where that is less), of the first mount\n"
                    "  write_buffer=SIZE   memory for data not yet written, likewise\n"
                    "  deep_idle           let idle processors sleep between requests: slower, saves power\n"
                    "  nosupervise         when the daemon dies, its mounts end; of the first mount.\n"
                    "                      Otherwise another goes on with them (Linux 6.9)\n"
                    "  supervise           another must be able to: else there is no mount, and that\n"
                    "                      of a snapshot is without io_uring\n"
                    "  timeout=SECONDS     how long who reads waits for a remote behind a server, then\n"
                    "                      gets an error (default 60)\n"
                    "  stale_ok            of a remote with etcd: an older version is good enough\n"
                    "  lease=REMOTE[:NAME] be the writer of what the dataset is published as, as long\n"
                    "                      as it is mounted; without the lease it is read-only (etcd)\n"
                    "  lease_time=SECONDS  for so long after this machine was heard of last (60)\n"
                    "  follow              of a remote's dataset: move to each version that is published\n"
                    "  cache=DIRECTORY     of a remote: keep what is fetched there (./NAME)\n"
                    "  cache_size=SIZE     at most so much of it (default 10G)\n"
                    "  debug               log every request\n"
                    "  nosuid, nodev, noexec, sync, ...   as for mount(8); reading a file never\n"
                    "                      changes its access time (noatime)\n",
         .min = 1,
         .max = 2,
         .options = mount_option_list,
         .run = run_mount},
	{NULL},
};
