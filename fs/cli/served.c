#include "fs/cli/served.h"

#include <errno.h>

#include "fs/cli/where.h"
#include "fs/daemon/control/client.h"
#include "lib/base/buf.h"
#include "lib/base/procfs.h"
#include "lib/base/shell.h"
#include "lib/store/store.h"

/* An older daemon does not know the question. */
static int ask(struct client *client, unsigned connection, bool *ret_is_other, struct error *err)
{
	json_t *args = json_pack("{s:I}", "connection", (json_int_t)connection), *value = NULL;
	int result = client_call(client, "mount.has", args, NULL, &value, err);

	*ret_is_other = result == 0 && json_is_false(json_object_get(value, "has"));
	json_decref(args);
	json_decref(value);
	if (result == 0 || result == -ETIMEDOUT)
		return result;
	*err = (struct error){0};
	return 0;
}

void served_hint_silent(const char *store, const char *mountpoint, struct error *err)
{
	const pid_t daemon = store_locked_by(store);
	AUTO_FREE char *number = xasprintf("%d", (int)daemon);

	if (daemon > 0 && procfs_is_stopped(daemon))
		error_hint_shell(err, "kill -CONT %s lets it go on, corpusfs umount --force %s ends it in any case", number, mountpoint);
	else
		error_hint_shell(err, "%s/log may say why; corpusfs umount --force %s ends it in any case", store, mountpoint);
}

int served_check(const char *store, const char *path, struct error *err)
{
	AUTO_FREE char *mountpoint = NULL, *still = NULL;
	const unsigned connection = where_connection(path, &mountpoint);
	struct client *client = NULL;
	enum where_health health;
	bool is_other = false;
	int result = connection ? client_connect(store, &client, err) : 0;

	if (result == 0 && client) {
		result = ask(client, connection, &is_other, err);
	} else if (result == -ENOENT || result == -ECONNREFUSED) {
		/* behind a mount for writing that lives is somebody who has the lock of its store */
		is_other = store_locked_by(store) == 0 && !where_is_read_only(mountpoint);
		result = 0;
	} else if (result == -EACCES) {
		/* who talks to it afterwards is told so, and with --as-owner may be another user */
		*err = (struct error){0};
		result = 0;
	}
	/* its daemon may have died, and another have the store; or it was unmounted meanwhile */
	health = is_other ? where_health(mountpoint) : WHERE_DEAD;
	/* who does not answer is another one all the same, if the one there says so */
	if (health == WHERE_SILENT && !client)
		health = WHERE_DEAD;
	client_close(client);
	if (result == -ETIMEDOUT)
		served_hint_silent(store, mountpoint, err);
	if (health == WHERE_DEAD || where_connection(path, &still) != connection)
		return result;
	error_set(err, -ESTALE, "the store that is mounted at %s is not at %s any more: it was moved, and another one is there now", mountpoint, store);
	error_hint(err, "say with -s which one is meant");
	return -ESTALE;
}
