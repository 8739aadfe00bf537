/* K13 (check_rules.h): the records of the catalogue, as they are at one moment. Internal to lib/verify; one thread. */
#ifndef CORPUSFS_VERIFY_CHECK_CATALOG_H
#define CORPUSFS_VERIFY_CHECK_CATALOG_H

#include "lib/store/store.h"
#include "lib/verify/check_report.h"

WARN_UNUSED int check_catalog(struct store *store, struct check_report *report);

#endif
