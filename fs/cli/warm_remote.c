#include "fs/cli/warm_remote.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

static void tell_problem(void *arg, const char *text)
{
	(void)arg;
	fprintf(stderr, "corpusfs: %s\n", text);
}

/* Cuts it off. */
static const char *path_of(char *operand)
{
	char *slash = strchr(strchr(operand, ':'), '/');

	if (!slash)
		return "";
	*slash = '\0';
	return slash + 1;
}

struct warm_remote warm_remote_of(const char *operand)
{
	AUTO_FREE char *dataset = xstrdup(operand);
	struct warm_remote remote = {.browsing = {.cache_dir = {-1, -1}}, .place = {.path = operand}};

	(void)path_of(dataset);
	remote.dataset = steal_ptr(dataset);
	remote.options = remote_options_of(remote.dataset);
	return remote;
}

static int open_cache(struct cli *cli, struct warm_remote *remote, struct error *err)
{
	int r = remote_options_get(cli, &remote->options, err);

	if (r < 0)
		return r;
	if (remote->options.browsing.follows)
		return error_set(err, -EINVAL, "mount option follow has a meaning for mounts only");
	if (!remote->options.browsing.cache_dir) {
		(void)error_set(err, -EINVAL, "%s is not mounted, and of which cache is not said", remote->place.path);
		error_hint(err, "name that of the mount to come: -o cache=DIRECTORY,cache_size=SIZE");
		return -EINVAL;
	}
	remote->options.browsing.problem = tell_problem;
	r = browsing_open(&remote->options.browsing, &remote->browsing, err);
	if (r == -EBUSY)
		error_hint(err, "if it is that of a mount, name a path in the mount");
	return r;
}

int warm_remote_open(struct cli *cli, struct warm_remote *remote, struct error *err)
{
	AUTO_FREE char *copy = xstrdup(remote->place.path);
	int r;

	if (!remote->options.name.is_published) {
		(void)error_set(err, -EINVAL, "%s: which dataset of the remote is not said", remote->place.path);
		error_hint(err, "corpusfs remote list shows those there are");
		return -EINVAL;
	}
	r = open_cache(cli, remote, err);
	if (r < 0)
		return r;
	remote->place.browsing = &remote->browsing;
	r = browse_find(remote->browsing.browse, path_of(copy), &remote->place.from);
	return r < 0 ? error_set(err, r, "%s: %s", remote->place.path, r == -EIO ? REMOTE_AWAY : error_text(r)) : 0;
}

void warm_remote_close(struct warm_remote *remote)
{
	browsing_close(&remote->browsing);
	remote_options_clear(&remote->options);
	free(remote->dataset);
}
