#include "fs/cli/exit.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "lib/base/escape.h"

enum exit_code exit_code_of(int code)
{
	switch (-code) {
	case 0: return EXIT_OK;
	case EINVAL:
	case ENAMETOOLONG:
	case ENOTDIR:
	case E2BIG: return EXIT_USAGE;
	case ENOENT:
	case ENODATA:
	case ESTALE: return EXIT_NOT_FOUND;
	case EBUSY:
	case ENOTEMPTY:
	case ETXTBSY: return EXIT_BUSY;
	case EEXIST: return EXIT_EXISTS;
	case EPERM:
	case EROFS:
	case EACCES: return EXIT_PERMISSION;
	case EMEDIUMTYPE:
	case EBADMSG:
	case EUCLEAN: return EXIT_DAMAGED;
	case ENOSPC:
	case EDQUOT: return EXIT_NO_SPACE;
	case EPROTONOSUPPORT:
	case EOPNOTSUPP:
	case ENOSYS:
	case ENODEV: return EXIT_UNSUPPORTED;
	default: return EXIT_FAILED;
	}
}

int exit_with(const struct error *err)
{
	AUTO_FREE char *text = escape_text(err->text[0] ? err->text : error_text(err->code), ESCAPE_BYTES | ESCAPE_CONTROL);
	AUTO_FREE char *hint = escape_text(err->hint, ESCAPE_BYTES | ESCAPE_CONTROL);

	fflush(stdout); /* rows that came before */
	fprintf(stderr, "corpusfs: %s%s%s\n", text, *hint ? "; " : "", hint);
	return exit_code_of(err->code);
}
