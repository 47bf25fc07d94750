/*
 * Claims within limits and promotions begin at the first job that the last look has found: nothing
 * stays behind.
 *
 * Jobs in the order of claims.  A job appears at any place, also behind the mark: committed late,
 * handed back, moved, made more urgent.  It may be held: by a stranger's lock, or because its
 * concurrency key is busy, which changes nothing in its row.  A look is one step with the claim:
 * it moves the mark, from the mark or from the start, and takes one job that is not held.
 *
 * Left out: the margin of a second, which lets the next look find what was committed a little late;
 * how the length of a look is measured; jobs that a promotion puts aside, which are tried again by
 * their ids (moves.pml); priorities and sets of kinds, which have marks of their own.
 *
 * Guards:
 *  guard LOOK: a look from the start comes again and again
 *      (0022_pass_dead_entries.sql:claim_limited, awa_lib/runtime/promotion.py:Promotion).
 *  guard FIRST: the mark moves to the first job that is there, taken or not, no further
 *      (0022_pass_dead_entries.sql:claim_limited, maintenance.sql:due_states).
 */
//! check: assert stranded - no job that the last look from the start saw is behind the mark
//! check: ltl taken - every job that can be claimed is taken in the end
//! twin: NO_LOOK breaks ltl taken
//! twin: NO_FIRST breaks assert stranded

#ifdef LARGER
#define PLACES 5
#define APPEARANCES 8
#define HOLDS 3
#else
#define PLACES 4
#define APPEARANCES 6
#define HOLDS 2
#endif

mtype = { none, free, held }

mtype job[PLACES] = none;
byte mark, appearances = APPEARANCES, holds = HOLDS;
bool seen[PLACES];          /* what the last look from the start saw */
bool stranded;

active proctype Worker() {
    byte n, since;
    bool whole, took;
    do
    :: atomic {
        whole = false;
#ifndef NO_LOOK
        if
        :: whole = true; since = 0
        :: since < 2 -> since++
        fi;
#endif
        d_step {
        if
        :: whole -> mark = 0; for (n : 0 .. PLACES - 1) { seen[n] = (job[n] != none) }
        :: else
        fi;
#ifndef NO_FIRST
        do
        :: mark < PLACES && job[mark] == none -> mark++
        :: else -> break
        od;
#else
        mark = PLACES;
#endif
        for (n : 0 .. PLACES - 1) {
            stranded = stranded || (seen[n] && job[n] != none && n < mark);
            if
            :: n >= mark && job[n] == free && !took -> job[n] = none; seen[n] = false; took = true
            :: else
            fi
        }
        assert(!stranded);
        n = 0; took = false; whole = false
        }
    }
    od
}

active proctype World() {
    byte which;
end:
    do
    :: atomic { appearances > 0 ->
        select(which : 0 .. PLACES - 1);
        if
        :: job[which] == none -> job[which] = free; appearances--
        :: else
        fi;
        which = 0
    }
    :: atomic { holds > 0 ->
        select(which : 0 .. PLACES - 1);
        if
        :: job[which] == free -> job[which] = held; holds--
        :: else
        fi;
        which = 0
    }
    :: atomic {
        select(which : 0 .. PLACES - 1);
        job[which] == held -> job[which] = free; which = 0
    }
    :: appearances == 0 && holds == 0 -> break
    od;
    atomic {
        for (which : 0 .. PLACES - 1) {
            if
            :: job[which] == held -> job[which] = free
            :: else
            fi
        }
        which = 0
    }
}

#if PLACES == 5
ltl taken { <> [] (job[0] != free && job[1] != free && job[2] != free && job[3] != free && job[4] != free) }
#else
ltl taken { <> [] (job[0] != free && job[1] != free && job[2] != free && job[3] != free) }
#endif
