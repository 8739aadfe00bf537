#include "lib/transfer/archive.h"

locale_t archive_locale_new(void)
{
	return newlocale(LC_CTYPE_MASK, "C.UTF-8", (locale_t)0);
}

locale_t archive_locale_use(locale_t locale)
{
	return uselocale(locale ? locale : (locale_t)0);
}
