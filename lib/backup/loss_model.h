/*
 * How likely it is that data is lost within a time, by a Markov chain with one state for each condition of the copies.
 *
 * A copy is good, or has damage that nobody has noticed (a part of it), or is gone (all of it). It changes
 *
 *   good, damaged -> gone      when its disk dies, at rate `fail`; all copies of a site together when the site burns, at the site's rate
 *   good          -> damaged   at rate `rot`
 *   damaged       -> good      when the next check finds it: damage waits half an interval on average, so at rate 2 / check
 *   gone          -> good      at rate 1 / repair: a new disk is bought and filled from another copy
 *
 * Data is lost, for good, when no copy is good and at most one is damaged. Two damaged copies are damaged in different places, and mend each
 * other; that both are damaged in the same place is left out. Data that exists once is lost with its first damage.
 *
 * With Q the matrix of rates and state 0 all good, the states at time t are the first row of exp(Q t) (K. S. Trivedi, "Probability and
 * Statistics with Reliability, Queuing, and Computer Science Applications", 2nd ed., Wiley 2002, section 8.1), and the loss is the
 * element of the absorbing state. For n copies, no damage and no sites it is the model of disk arrays (G. A. Gibson, "Redundant Disk Arrays",
 * MIT Press 1992; P. M. Chen et al., "RAID: High-Performance, Reliable Secondary Storage", ACM Computing Surveys 26(2), 1994), of two copies with
 * failure rate f and repair rate m
 *
 *   loss(t) = 1 - (a exp(-b t) - b exp(-a t)) / (a - b),   a, b = (3f + m +- sqrt(f^2 + 6fm + m^2)) / 2
 *
 * Damage that waits to be found is from J. G. Elerath and M. Pecht, "Enhanced Reliability Modeling of RAID Storage Systems", DSN 2007.
 * What it cannot know: mistakes, malice, errors of programs, disks of one bad lot.
 *
 * Pure; any thread. All times in years, all rates per year.
 */
#ifndef CORPUSFS_BACKUP_LOSS_MODEL_H
#define CORPUSFS_BACKUP_LOSS_MODEL_H

#include <stddef.h>

#include "lib/base/clean.h"

#define LOSS_COPIES_MAX 5 /* 3 to their power are the states */
#define LOSS_SMALLEST 1e-9 /* below it nothing is claimed */

struct loss_copy {
	unsigned site; /* an index of `sites` */
	double fail, rot;
	double check;  /* from one check to the next */
	double repair; /* mean time */
};

struct loss_model {
	struct loss_copy copies[LOSS_COPIES_MAX];
	size_t count; /* 1 at least */
	double sites[LOSS_COPIES_MAX]; /* rates */
};

/* -EINVAL: a rate is negative or no number, a time not above 0. */
WARN_UNUSED int loss_probability(const struct loss_model *model, double years, double *ret_probability);

#endif
