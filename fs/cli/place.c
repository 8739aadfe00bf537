#include "fs/cli/place.h"

#include <errno.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "fs/cli/hint.h"
#include "fs/cli/run.h"
#include "fs/cli/served.h"
#include "fs/cli/where.h"
#include "lib/base/buf.h"
#include "lib/base/path.h"
#include "lib/base/shell.h"
#include "lib/ops/json.h"

#define SNAPSHOTS ".snapshots"

void place_clear(struct place *place)
{
	free(place->dataset);
	free(place->snapshot);
	free(place->path);
	*place = (struct place){0};
}

char *place_view(const struct place *place)
{
	return place->snapshot ? xasprintf("%s@%s", place->dataset, place->snapshot) : xstrdup(place->dataset);
}

/* --- what a text or a path says --- */

/* "DATASET[@NAME][/PATH]" */
static struct place parse(const char *text)
{
	const char *begin = text + strspn(text, "/");
	size_t len = strcspn(begin, "/"), name_len = strcspn(begin, "@/");
	AUTO_FREE char *view = xasprintf("%.*s", (int)len, begin);

	return (struct place){
		.dataset = xasprintf("%.*s", (int)name_len, view),
		.snapshot = name_len < len ? xstrdup(view + name_len + 1) : NULL,
		.path = path_clean(begin + len),
	};
}

/* DATASET/.snapshots/NAME/PATH is DATASET@NAME/PATH. */
static void enter_snapshot(struct place *place)
{
	size_t len = strlen(SNAPSHOTS);
	const char *name = place->path + len + 1, *rest;

	if (place->snapshot || !path_is_below(place->path, SNAPSHOTS) || !place->path[len])
		return;
	rest = name + strcspn(name, "/");
	place->snapshot = xasprintf("%.*s", (int)(rest - name), name);
	char *path = xstrdup(rest + (*rest == '/'));
	free(place->path);
	place->path = path;
}

/* The absolute path, also of what is not there any more: as much of it as exists is resolved. */
static char *resolve_missing(const char *path)
{
	AUTO_FREE char *whole = path[0] == '/' ? xstrdup(path) : xasprintf("./%s", path);
	AUTO_FREE char *head = xstrdup(whole);

	for (;;) {
		AUTO_FREE char *found = where_absolute(*head ? head : "/");
		char *slash = strrchr(head, '/');
		if (found)
			return xasprintf("%s%s", strcmp(found, "/") == 0 ? "" : found, whole + strlen(head));
		if (!slash)
			return NULL;
		*slash = '\0';
	}
}

/* 1: the path lies in a mount. */
static int by_path(const char *path, char **ret_store, struct place *ret_place)
{
	AUTO_FREE char *absolute = resolve_missing(path);
	struct where_inside inside = {0};
	struct place place;

	if (!absolute || !where_inside(absolute, &inside))
		return 0;
	if (*inside.view) {
		place = parse(inside.view);
		free(place.path);
		place.path = steal_ptr(inside.path);
	} else {
		place = parse(inside.path);
	}
	enter_snapshot(&place);
	*ret_store = steal_ptr(inside.store);
	*ret_place = place;
	where_inside_clear(&inside);
	return 1;
}

/* "PATH@NAME", where PATH is a dataset's root, as in ".@v1". */
static int by_path_and_name(const char *path, char **ret_store, struct place *ret_place)
{
	const char *at = strrchr(path, '@');
	AUTO_FREE char *dataset = at ? xasprintf("%.*s", (int)(at - path), path) : NULL;
	struct stat st;

	if (!at || strchr(at, '/') || lstat(path, &st) == 0 || by_path(dataset, ret_store, ret_place) == 0)
		return 0;
	if (!*ret_place->path && !ret_place->snapshot) {
		ret_place->snapshot = xstrdup(at + 1);
		return 1;
	}
	free(steal_ptr(*ret_store));
	place_clear(ret_place);
	return 0;
}

/* --- which of the ways it is --- */

static bool looks_like_path(const char *text)
{
	size_t dots = strspn(text, ".");

	return text[0] == '/' || ((dots == 1 || dots == 2) && (!text[dots] || text[dots] == '/' || text[dots] == '@'));
}

/* Whether a word is the name of a dataset, when it may be a file in the current directory as well. */
static bool is_dataset(const char *store, const char *word)
{
	AUTO_FREE char *name = xasprintf("%.*s", (int)strcspn(word, "/"), word);
	json_t *value = NULL;
	struct error err = {0};
	int result;

	if (strchr(name, '@'))
		return true;
	result = run_op_at(store, "dataset.show", json_pack("{s:o}", "name", json_from_bytes(name)), NULL, &value, &err);
	json_decref(value);
	return result == 0;
}

/* The store in whose mount we stand, unless another one is named in the environment. */
static char *store_here(void)
{
	const char *named = getenv("CORPUSFS_STORE");
	AUTO_FREE char *cwd = getcwd(NULL, 0);
	AUTO_FREE char *store = cwd ? where_store_of(cwd, NULL) : NULL;
	AUTO_FREE char *other = named && *named ? realpath(named, NULL) : NULL;

	return store && (!other || strcmp(store, other) == 0) ? steal_ptr(store) : NULL;
}

/* 1: it is a path in a mount. */
static int find(const struct cli *cli, const char *text, unsigned takes, char **ret_store, struct place *ret_place)
{
	AUTO_FREE char *store = NULL;

	if (looks_like_path(text))
		return by_path_and_name(text, ret_store, ret_place) || by_path(text, ret_store, ret_place);
	if (!cli->store && !(takes & PLACE_MAY_BE_NEW))
		store = store_here();
	if (!store || is_dataset(store, text))
		return 0;
	return by_path(text, ret_store, ret_place);
}

/* --- what the command takes --- */

static int refuse(struct place *place, const char *text, const char *what, const char *hint, struct error *err)
{
	place_clear(place);
	error_set(err, -EINVAL, "\"%s\" does not name %s", text, what);
	error_hint(err, "%s", hint);
	return -EINVAL;
}

static int check(struct place *place, const char *text, unsigned takes, struct error *err)
{
	AUTO_FREE char *snapshots = shell_text("corpusfs snapshot list %s shows those there are", place->dataset);
	AUTO_FREE char *inside = shell_text("say %s/ and its path in there, or the path of a file in a mount", place->dataset);
	bool path = (takes & (PLACE_MAY_PATH | PLACE_MUST_PATH)) != 0, snapshot = (takes & (PLACE_MAY_SNAPSHOT | PLACE_MUST_SNAPSHOT)) != 0;

	if (!*place->dataset)
		return refuse(place, text, "a dataset", "corpusfs dataset list shows those there are", err);
	if ((takes & PLACE_MUST_SNAPSHOT) && !place->snapshot)
		return refuse(place, text, "a snapshot", snapshots, err);
	if ((takes & PLACE_MUST_PATH) && !*place->path)
		return refuse(place, text, "a file in a dataset", inside, err);
	if (!snapshot && place->snapshot)
		return refuse(place, text, "a dataset", "this command takes no snapshot", err);
	if (!path && *place->path)
		return refuse(place, text, snapshot ? "a dataset or a snapshot" : "a dataset", "this command takes no path in one", err);
	return 0;
}

/* Takes over `store`. */
static int take_store(struct cli *cli, char *store, const char *text, struct error *err)
{
	AUTO_FREE char *named = cli->store ? realpath(cli->store, NULL) : NULL;
	AUTO_FREE char *absolute = resolve_missing(text);
	int result = 0;

	if (!cli->store) {
		cli->store = cli->found_store = store;
		return absolute ? served_check(store, absolute, err) : 0;
	}
	if (!named || strcmp(named, store) != 0)
		result = error_set(err, -EINVAL, "%s lies in the store %s, not in %s", text, store, cli->store);
	free(store);
	return result;
}

/* With slashes in front a name is taken too, but not where it is the path of something else. */
static int not_in_a_mount(const char *text, struct error *err)
{
	struct stat st;

	if (!looks_like_path(text) || (text[0] == '/' && lstat(text, &st) < 0))
		return 0;
	return error_set(err, -EINVAL, "%s does not lie in a mount of a store", text);
}

/* A path from outside that leads into a mount, and no dataset of that name: a word is never such a path, and import would make a dataset. */
static int check_is_no_path(const struct cli *cli, const char *text, struct error *err)
{
	AUTO_FREE char *cwd = getcwd(NULL, 0), *here = cwd ? where_store_of(cwd, NULL) : NULL, *lies_in = NULL, *store = NULL;
	struct cli plain = {.store = cli->store};
	AUTO_PLACE other = {0};
	struct error ignored = {0};

	if (here || looks_like_path(text) || !strchr(text, '/') || !by_path(text, &lies_in, &other))
		return 0;
	if (run_find_store(&plain, &store, &ignored) == 0 && is_dataset(store, text))
		return 0;
	error_set(err, -EINVAL, "there is no dataset \"%.*s\"", (int)strcspn(text, "/"), text);
	error_hint_shell(err, "the path in the mount is ./%s", text);
	return -EINVAL;
}

/* Neither a file here, nor a path where the command takes one: the name of a dataset that there is not, of which the store knows more. */
static bool is_mistyped(const struct place *place, const char *text, unsigned takes)
{
	struct stat st;

	return !looks_like_path(text) && *place->path && !(takes & (PLACE_MAY_PATH | PLACE_MUST_PATH)) && lstat(text, &st) < 0;
}

int place_find(struct cli *cli, const char *text, unsigned takes, struct place *ret_place, struct error *err)
{
	struct place place = {0};
	char *store = NULL;
	int result;

	if (find(cli, text, takes, &store, &place)) {
		if (is_mistyped(&place, text, takes)) {
			place_clear(&place);
			place = parse(text);
		}
		result = take_store(cli, store, text, err);
	} else {
		result = not_in_a_mount(text, err);
		if (result == 0)
			result = check_is_no_path(cli, text, err);
		place = parse(text);
		enter_snapshot(&place);
	}
	if (result == 0)
		result = check(&place, text, takes, err);
	if (result < 0) {
		hint_name_store(err, cli->store);
		place_clear(&place);
	} else {
		*ret_place = place;
	}
	return result;
}

int place_add_path(struct cli *cli, struct place *place, const char *text, struct error *err)
{
	AUTO_PLACE other = {0};
	char *store = NULL;
	int result = 0;

	if (!text)
		return 0;
	if (looks_like_path(text) && by_path(text, &store, &other)) {
		result = take_store(cli, store, text, err);
		if (result == 0 && strcmp(other.dataset, place->dataset) != 0)
			result = error_set(err, -EINVAL, "%s does not lie in dataset \"%s\"", text, place->dataset);
	} else {
		other.path = path_clean(text);
	}
	if (result == 0 && *place->path && strcmp(place->path, other.path) != 0)
		result = error_set(err, -EINVAL, "two paths are named: \"%s\" and \"%s\"", place->path, other.path);
	if (result == 0) {
		free(place->path);
		place->path = steal_ptr(other.path);
	}
	return result;
}
