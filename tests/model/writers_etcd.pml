/*
 * Who may write a dataset, where heads are in etcd (lib/repository/objects_etcd_writer.c), for spin. Each of MACHINES becomes the writer ROUNDS times, and
 * publishes one version as such, while its lease may end at any time, and messages to etcd and their answers are lost or come late; and each may pause
 * for any time or die between any two steps. It gets a term that nobody had before, also if it was the writer already; or it publishes again in the term
 * that it has, as from a mount with a lease. Once, somebody takes the lease away from whoever has it, be it the writer himself, who gives it up.
 *
 *   no version comes from who is the writer no more       asserted in apply()
 *   nor from who has given it up, or lost it by force     asserted in apply()
 *   who is the writer still is overtaken by nobody,
 *   himself of an earlier term included                   asserted where he is refused
 *
 * A version is named by its value in etcd, which no other has: 1 + machine * ROUNDS + round. 0: none.
 * With -DNO_TERM the transaction does not compare the term, with -DKEEP_TERM who is the writer already keeps his, with -DKEEP_RELEASED no term begins when
 * a lease is given up: then it must fail.
 */
#define MACHINES 2
#define ROUNDS 2
#define VERSIONS 5 /* and 0 */
#define TERMS 6

byte key;              /* the newest version, in etcd */
byte term;             /* the last that was given, in etcd */
byte writer;           /* 1 + machine, in etcd as long as the lease; 0: nobody is */
bool was_key[VERSIONS];
bool given_up[TERMS];  /* of a term, that its writer is it no more */
byte sent[MACHINES], sent_before[MACHINES], sent_term[MACHINES]; /* a transaction on its way to etcd, of each machine; sent 0: none */

/* etcd carries a transaction out, once or more often. */
inline apply(version, before, mine)
{
	if
#ifndef NO_TERM
	:: key == before && term == mine ->
#else
	:: key == before ->
#endif
		assert(term == mine && !given_up[mine]);
		key = version;
		was_key[version] = true
	:: else
	fi
}

/* It may come late, when nobody waits for it any more. */
active proctype network()
{
end:	do
	:: d_step { sent[0] != 0 -> apply(sent[0], sent_before[0], sent_term[0]); sent[0] = 0 }
	:: d_step { sent[1] != 0 -> apply(sent[1], sent_before[1], sent_term[1]); sent[1] = 0 }
	od
}

active proctype time()
{
end:	do
	:: writer != 0 -> writer = 0
	od
}

/* One transaction: the lease is gone, and the next term begins. */
active proctype somebody()
{
end:	atomic {
		writer != 0 ->
		given_up[term] = true;
		writer = 0;
#ifndef KEEP_RELEASED
		term++
#endif
	}
}

proctype machine(byte me)
{
	byte version, before, mine, round;
	bool goes_on;

	do
	:: round == ROUNDS -> break
	:: else ->
		version = 1 + me * ROUNDS + round;
		round++;
		goes_on = false;
		/* one transaction, or none */
		if
		:: mine != 0 -> goes_on = true
		:: atomic { writer == 0 -> writer = 1 + me; term++; mine = term }
		:: atomic {
			writer == 1 + me ->
#ifndef KEEP_TERM
			term++;
#endif
			mine = term
		   }
		:: goto refused
		fi;
		/* the head, once there is a term */
		before = key;
again:
		if
		:: goto refused /* dies */
		/* no answer: asked again, while the first may still come */
		:: d_step { sent[me] = version; sent_before[me] = before; sent_term[me] = mine }; goto again
		/* an answer */
		:: atomic {
			skip; /* an "else" that came first would be that of all three */
			apply(version, before, mine);
			if
			:: was_key[version]
			/* what it has sent before in this term may have come just then: it has that still, and comes from it the next time */
			:: else -> assert(term != mine || (goes_on && was_key[version - 1]))
			fi
		   }
		fi;
refused:	skip
	od
}

init
{
	atomic {
		run machine(0);
		run machine(1)
	}
}
