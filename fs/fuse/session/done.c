#include "fs/fuse/session/done.h"

#include "lib/tree/inodes/mark.h"

void done_learn(const struct session_options *options)
{
	for (unsigned i = 0; i < KEPT_THREADS; i++) {
		struct mark mark;

		if (!mark_read(options->marks, options->place + i, &mark) && mark.session == options->kept->session)
			kept_note_done(options->kept, mark.request);
	}
}

void done_begin(const struct session_options *options, uint64_t request, unsigned place)
{
	mark_set(&(struct mark){.session = options->kept->session, .request = request, .place = options->place + place});
}

void done_end(void)
{
	mark_set(NULL);
}
