/*
 * Claims that begin at marks (awa_lib/runtime/marks.py): nothing that can be claimed stays behind.
 *
 * Jobs of two keys, an urgent one and a second, each with its places in the order of claims.  A job
 * appears at any place, also behind a mark: committed late, handed back, moved, made more urgent.
 * A stranger locks a job and lets it go, and another worker, whose marks are its own, takes one.  A
 * claim takes at most LIMIT jobs that nobody has locked, and is one step, because a row is locked and
 * tested again before it is taken (leases.pml).  A look from the start is due after one or two claims from marks.
 *
 * Left out: the margin of a tenth of a second, which lets the next claim find what was committed a
 * little late; how the length of a look is measured; the error that makes a worker forget its marks.
 *
 * Guards:
 *  guard LOOK: a look from the start comes again and again (awa_lib/runtime/looks.py:Looks).
 *  guard CLEAR: a look that has not reached every place drops the older marks
 *      (awa_lib/runtime/marks.py:Marks).
 *  guard TAKEN: a mark moves to a job that was taken, no further (awa_lib/runtime/marks.py:Marks).
 */
//! check: assert left_out - a look from the start leaves out nothing that is more urgent
//! check: assert stranded - after a look, and claims until one is short, nothing is left that the look could have taken
//! check: ltl taken - every job that can be claimed is taken in the end
//! twin: NO_LOOK breaks ltl taken
//! twin: NO_CLEAR breaks assert stranded
//! twin: NO_TAKEN breaks assert stranded

#define PLACES 2
#define JOBS 4              /* the urgent ones, then the others */
#define LIMIT 1             /* of a claim */
#define START 255           /* no mark: the place before the first */
#ifdef LARGER
#define APPEARANCES 6
#define LOCKS 2
#else
#define APPEARANCES 4
#define LOCKS 1             /* and takes */
#endif

mtype = { none, free, locked }

mtype job[JOBS] = none;
byte appearances = APPEARANCES, locks = LOCKS, takes = LOCKS;

bool seen[JOBS];            /* what the last look from the start saw and could have taken */
bool left_out, stranded;

#define no_job_is_free (job[0] != free && job[1] != free && job[2] != free && job[3] != free)

#define ahead(p) (mark[(p) / PLACES] == START || (p) % PLACES > mark[(p) / PLACES])

inline look_at(whole) {
    n = 0; count = 0; place = 0;
    do
    :: place < JOBS ->
        if
        :: whole -> seen[place] = (job[place] == free)
        :: else
        fi;
        if
        :: job[place] == free && count < LIMIT && (whole || ahead(place)) ->
            took[count] = place; count++
        :: else
        fi;
        place++
    :: else -> break
    od;
    place = 0
}

active proctype Worker() {
    byte mark[2], took[LIMIT], place, count, n, since;
    bool whole, due = true;
    mark[0] = START; mark[1] = START;
    do
    :: atomic {
        whole = due; due = false;
#ifndef NO_LOOK
        /* after two claims from marks, or earlier */
        since = (whole -> 0 : since + 1);
        if
        :: true -> due = true; since = 0
        :: since < 2
        fi;
#endif
        d_step {
        look_at(whole);
        /* what a look from the start took is the head of all that was free */
        do
        :: whole && n < JOBS ->
            if
            :: job[n] == free && count == LIMIT && n < took[0] -> left_out = true
            :: else
            fi;
            n++
        :: else -> break
        od;
        assert(!left_out);
#ifndef NO_CLEAR
        if
        :: whole && count == LIMIT -> mark[0] = START; mark[1] = START
        :: else
        fi;
#endif
        n = 0;
        do
        :: n < count ->
            job[took[n]] = none;
            seen[took[n]] = false;
#ifndef NO_TAKEN
            mark[took[n] / PLACES] = took[n] % PLACES;
#else
            mark[took[n] / PLACES] = PLACES - 1;
#endif
            n++
        :: else -> break
        od;
        n = 0;
        do
        :: count < LIMIT && n < JOBS ->
            if
            :: seen[n] && job[n] == free -> stranded = true
            :: else
            fi;
            n++
        :: else -> break
        od;
        assert(!stranded);
        count = 0; n = 0; took[0] = 0
        }
    }
    od
}

active proctype World() {
    byte which;
end:
    do
    :: atomic { appearances > 0 ->
        select(which : 0 .. JOBS - 1);
        if
        :: job[which] == none -> job[which] = free; appearances--
        :: else
        fi;
        which = 0
    }
    :: atomic { locks > 0 && !no_job_is_free ->
        select(which : 0 .. JOBS - 1);
        if
        :: job[which] == free ->
            job[which] = locked; locks--;
            seen[which] = false
        :: else
        fi;
        which = 0
    }
    :: atomic { takes > 0 && !no_job_is_free ->
        select(which : 0 .. JOBS - 1);
        if
        :: job[which] == free -> job[which] = none; takes--; seen[which] = false
        :: else
        fi;
        which = 0
    }
    :: atomic {
        select(which : 0 .. JOBS - 1);
        job[which] == locked -> job[which] = free; which = 0
    }
    :: appearances == 0 && locks == 0 -> break
    od;
    /* the stranger lets go in the end */
    atomic {
        for (which : 0 .. JOBS - 1) {
            if
            :: job[which] == locked -> job[which] = free
            :: else
            fi
        }
        which = 0
    }
}

ltl taken { <> [] no_job_is_free }
