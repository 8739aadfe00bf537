/*
 * How versions of one dataset are published where heads are in etcd (lib/repository/objects_etcd.h), for spin. Each of PUBLISHERS publishes ROUNDS
 * times, while messages to etcd and their answers are lost or come late, and whoever publishes may die between any two steps and begin anew. A reader
 * looks at the newest version at any time.
 *
 *   no two heads come from one base,
 *   and each is put after the one it goes on from   asserted in apply()
 *   what was acknowledged stays a version      asserted in all_is_there()
 *   no reader is ahead of the head             asserted by the reader
 *
 * A head is named by its value in etcd, which no other has: 1 + publisher * ROUNDS + round. 0: none. One number may be left out.
 * With -DNO_COMPARE the transaction does not compare, with -DCOPY_FIRST the copy is put before it, with -DNO_CARE nobody sees to the copy of the head
 * before, with -DNO_LIST it is not looked whether that is the head from which the number was counted on: then it must fail.
 */
#define PUBLISHERS 2
#define ROUNDS 2
#define HEADS 5 /* and 0 */
#define NUMBERS 6

byte key;              /* the newest head, in etcd */
byte number[HEADS];    /* of a head */
byte parent[HEADS];    /* the head from which its number was counted on */
byte child[HEADS];     /* the head that came after it by a transaction; 0: none yet */
bool given[NUMBERS];   /* a head of this number was put */
byte copies[NUMBERS];  /* in the repository, by their number */
bool acknowledged[HEADS];
byte sent[PUBLISHERS], sent_before[PUBLISHERS]; /* a transaction on its way to etcd, of each publisher; sent 0: none */

/* etcd carries a transaction out, once or more often. */
inline apply(head, before)
{
	if
#ifndef NO_COMPARE
	:: key == before ->
#else
	:: key != head ->
#endif
		assert(child[before] == 0 && parent[head] == before);
		child[before] = head;
		given[number[head]] = true;
		key = head
	:: else
	fi
}

/* It may come late, when nobody waits for it any more. */
active proctype network()
{
end:	do
	:: d_step { sent[0] != 0 -> apply(sent[0], sent_before[0]); sent[0] = 0 }
	:: d_step { sent[1] != 0 -> apply(sent[1], sent_before[1]); sent[1] = 0 }
	od
}

inline put_copy(head)
{
	if
	:: copies[number[head]] == 0 -> copies[number[head]] = head
	:: else
	fi
}

inline all_is_there()
{
	i = 1;
	do
	:: i < HEADS -> assert(!acknowledged[i] || key == i || copies[number[i]] == i); i++
	:: else -> break
	od;
	i = 0
}

proctype publisher(byte me)
{
	byte head, base, before, round, i;

	do
	:: round == ROUNDS -> break
	:: else ->
		head = 1 + me * ROUNDS + round;
		round++;
		/* what there is, and the number that comes next */
		d_step {
			base = key;
			parent[head] = base;
			number[head] = number[base] + 1
		};
		if
		:: me == 0 && round == 1 -> number[head]++
		:: skip
		fi;
#ifdef COPY_FIRST
		d_step { put_copy(head) };
#endif
		/* the head before, once more */
		before = key;
		if
		:: before != 0 && number[before] >= number[head] -> goto refused
#ifndef NO_LIST
		:: before != base -> goto refused
#endif
		:: else
		fi;
#ifndef NO_CARE
		if
		:: before != 0 -> d_step { put_copy(before) }
		:: else
		fi;
#endif
again:
		if
		:: goto dies
		/* no answer: asked again, while the first may still come */
		:: d_step { sent[me] = head; sent_before[me] = before }; goto again
		/* an answer */
		:: atomic {
			skip; /* an "else" that came first would be that of all three */
			apply(head, before);
			if
			:: key == head -> acknowledged[head] = true
			/* it had come, and others came after it: they have seen to its copy */
			:: key != head && copies[number[head]] == head -> acknowledged[head] = true
			:: else -> goto refused
			fi;
			all_is_there()
		   }
		fi;
		if
		:: d_step { put_copy(head) }
		:: skip /* dies before */
		fi;
		d_step { all_is_there() };
refused:	skip;
dies:		skip
	od
}

active proctype reader()
{
	byte head, newest, i;

	do
	:: head = key;
		/* then what is in the repository */
		d_step {
			newest = number[head];
			i = NUMBERS - 1;
			do
			:: i > 0 ->
				if
				:: copies[i] != 0 && i > newest -> newest = i
				:: else
				fi;
				/* none is missing before the head that was there */
				assert(i >= number[head] || !given[i] || copies[i] != 0);
				i--
			:: else -> break
			od;
			assert(newest <= number[key]);
			head = 0;
			newest = 0
		}
	:: break
	od
}

init
{
	atomic {
		run publisher(0);
		run publisher(1)
	}
}
