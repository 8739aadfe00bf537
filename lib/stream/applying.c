#include "lib/stream/applying.h"

#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>

int applying_bad(struct applying *applying, const char *format, ...)
{
	char text[ERROR_TEXT_MAX];
	va_list args;

	va_start(args, format);
	(void)vsnprintf(text, sizeof(text), format, args);
	va_end(args);
	applying->is_wrong = true;
	return error_set(applying->err, -EBADMSG, "the stream is not valid: %s", text);
}

int applying_result(struct applying *applying, const char *name, int result)
{
	switch (result) {
	case -ENOENT:
	case -EEXIST:
	case -ENOTDIR:
	case -EISDIR:
	case -ENOTEMPTY:
	case -EINVAL:
	case -ENAMETOOLONG:
	case -EMLINK:
	case -EFBIG:
	case -ESTALE:
	case -E2BIG:
	case -ENODATA:
	case -EPERM:
	case -EOPNOTSUPP: return applying_bad(applying, "\"%s\": %s", name, error_text(result));
	default: return result;
	}
}

int applying_ino(struct applying *applying, uint64_t label, uint64_t *ret_ino)
{
	int r = 0;

	if (label == STREAM_ROOT) {
		*ret_ino = ROOT_INO;
		return 0;
	}
	if (label != applying->last_label) {
		uint64_t ino = 0;

		r = receiving_get_label(applying->store, applying->hidden, label, &ino);
		if (r < 0)
			return r == -ENOENT ? applying_bad(applying, "label %" PRIu64 " stands for nothing", label) : r;
		applying->last_label = label;
		applying->last_ino = ino;
	}
	*ret_ino = applying->last_ino;
	return 0;
}

int applying_bind(struct applying *applying, uint64_t label, uint64_t ino)
{
	int r = label == STREAM_ROOT ? applying_bad(applying, "the root comes twice")
	                             : receiving_put_label(applying->store, applying->hidden, label, ino);

	applying->last_label = r == 0 ? label : 0;
	applying->last_ino = ino;
	return r;
}

void applying_xattrs(const struct stream_attributes *attributes, struct xattr_list *ret_list)
{
	struct reader xattrs = attributes->xattrs;

	for (uint32_t i = 0; i < attributes->xattr_count; i++) {
		struct xattr_init *init = array_new(ret_list);
		const uint8_t *value;

		stream_xattr_next(&xattrs, &init->name, &value, &init->len);
		init->value = value;
	}
}
