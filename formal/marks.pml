/*
 * Claims that begin at marks (awa_lib/runtime/marks.py) while looks from the start go on beside them
 * (awa_lib/runtime/late_jobs.py): nothing that can be claimed stays behind.
 *
 * Jobs of two keys, an urgent one and a second, each with its places in the order of claims.  A job
 * appears at any place, also behind a mark: committed late, handed back, moved, made more urgent.
 * A stranger locks a job and lets it go, and another worker, whose marks are its own, takes one.  A
 * claim takes one job that nobody has locked, and is one step until its reply, because a row is
 * locked and tested again before it is taken (leases.pml).  A look has three steps: it is asked with
 * the marks of that moment, it reads, and its reply arrives; claims and their replies come between.
 *
 * Left out: the margins, which let the next claim find what was committed a little late; how the
 * length of a look is measured, and claims from the start while looks are cheap; the error that makes
 * a worker forget its marks; claims of more than one job, and more late jobs of a key than one.
 *
 * Guards:
 *  guard LOOK: a look from the start comes again and again (awa_lib/runtime/late_jobs.py:LateJobs).
 *  guard BETWEEN: what a look has found moves the marks between claims, not while one is under way
 *      (awa_lib/runtime/marks.py:Marks).
 *  guard NAMED: the jobs behind a mark that a look has found are claimed by their ids
 *      (awa_lib/runtime/marks.py:Marks).
 *  guard BACK: where too many are behind a mark, it moves back to the first of them
 *      (claims.sql:late_jobs).
 *  guard FIRST: a look moves a mark on to the first job that is there, no further
 *      (claims.sql:late_jobs).
 *  guard TAKEN: a claim moves a mark to a job that was taken, no further
 *      (awa_lib/runtime/marks.py:Marks).
 */
//! check: assert stranded - once a look has ended, claims until one takes nothing leave no job that it could have found
//! check: ltl taken - every job that can be claimed is taken in the end
//! twin: NO_LOOK breaks ltl taken
//! twin: NO_BETWEEN breaks assert stranded
//! twin: NO_NAMED breaks assert stranded
//! twin: NO_BACK breaks assert stranded
//! twin: NO_FIRST breaks assert stranded
//! twin: NO_TAKEN breaks assert stranded

#define PLACES 2
#define JOBS 4              /* the urgent ones, then the others */
#define MANY 2              /* so many behind a mark are not named */
#define START 0             /* a mark is the number of places that are passed */
#ifdef LARGER
#define APPEARANCES 4
#define LOCKS 2
#else
#define APPEARANCES 3
#define LOCKS 1             /* and takes */
#endif

mtype = { none, free, locked }

mtype job[JOBS] = none;
byte appearances = APPEARANCES, locks = LOCKS, takes = LOCKS;

byte mark[2];
bool late[JOBS];            /* named by the last look, not tried yet */

bool found;                 /* a reply that no claim has begun with */
byte begin[2];
bool named[JOBS];

bool seen[JOBS];            /* what the look under way could have taken when it read */
bool expected[JOBS];        /* the same of the last look whose reply the claims know */
bool stranded;

#define no_job_is_free (job[0] != free && job[1] != free && job[2] != free && job[3] != free)

inline gone(p) {
    seen[p] = false; expected[p] = false
}

inline learn() {
    mark[0] = begin[0]; mark[1] = begin[1];
    for (n : 0 .. JOBS - 1) {
#ifndef NO_NAMED
        late[n] = named[n];
#endif
        expected[n] = seen[n]; seen[n] = false; named[n] = false
    }
    begin[0] = START; begin[1] = START; found = false
}

active proctype Claims() {
    byte n, place, took, tried[2];
    do
    :: d_step {
        if
        :: found -> learn()
        :: else
        fi;
        /* a late job of each key, which comes before the others of its key */
        took = JOBS; tried[0] = JOBS; tried[1] = JOBS;
        for (place : 0 .. 1) {
            for (n : place * PLACES .. place * PLACES + PLACES - 1) {
                if
                :: late[n] && tried[place] == JOBS -> tried[place] = n; late[n] = false
                :: else
                fi
            }
            if
            :: took == JOBS && tried[place] < JOBS && job[tried[place]] == free ->
                took = tried[place]
            :: else
            fi;
            for (n : place * PLACES .. place * PLACES + PLACES - 1) {
                if
                :: took == JOBS && n % PLACES >= mark[place] && job[n] == free -> took = n
                :: else
                fi
            }
        }
        if
        :: took < JOBS ->
            job[took] = none; gone(took);
            /* a more urgent one has filled the claim */
            if
            :: took < PLACES && tried[1] < JOBS -> late[tried[1]] = true
            :: else
            fi
        :: else
        fi;
        n = 0; place = 0
        }
        /* the reply */
        d_step {
        if
        :: took < JOBS && took != tried[took / PLACES] ->
#ifndef NO_TAKEN
            mark[took / PLACES] = took % PLACES + 1
#else
            mark[took / PLACES] = PLACES
#endif
        :: else
        fi;
        for (n : 0 .. JOBS - 1) {
            stranded = stranded || (
                took == JOBS && !found && expected[n] && job[n] == free
                && !late[0] && !late[1] && !late[2] && !late[3])
        }
        assert(!stranded);
        n = 0; took = 0; tried[0] = 0; tried[1] = 0
        }
    od
}

#ifndef NO_LOOK
active proctype Looks() {
    byte n, k, behind, asked[2], first[2];
    bool ids[JOBS], could[JOBS];
    do
    :: d_step { !found -> asked[0] = mark[0]; asked[1] = mark[1] }
        d_step {
        for (n : 0 .. JOBS - 1) { could[n] = (job[n] == free) }
        for (k : 0 .. 1) {
            behind = 0;
            for (n : 0 .. PLACES - 1) {
                if
                :: n < asked[k] && job[k * PLACES + n] != none -> behind++
                :: else
                fi
            }
#ifndef NO_FIRST
            first[k] = asked[k];
            do
            :: first[k] < PLACES && job[k * PLACES + first[k]] == none -> first[k]++
            :: else -> break
            od;
#else
            first[k] = PLACES;
#endif
            for (n : 0 .. PLACES - 1) {
                ids[k * PLACES + n] =
                    (behind < MANY && n < asked[k] && job[k * PLACES + n] != none)
            }
#ifndef NO_BACK
            if
            :: behind >= MANY ->
                first[k] = 0;
                do
                :: job[k * PLACES + first[k]] == none -> first[k]++
                :: else -> break
                od
            :: else
            fi;
#endif
        }
        for (n : 0 .. JOBS - 1) { seen[n] = could[n]; could[n] = false }
        n = 0; k = 0; behind = 0; asked[0] = 0; asked[1] = 0
        }
        d_step {
        for (n : 0 .. JOBS - 1) { named[n] = ids[n]; ids[n] = false }
        begin[0] = first[0]; begin[1] = first[1]; first[0] = 0; first[1] = 0;
        found = true;
#ifdef NO_BETWEEN
        learn();
#endif
        n = 0
        }
    od
}
#endif

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
        :: job[which] == free -> job[which] = locked; locks--; gone(which)
        :: else
        fi;
        which = 0
    }
    :: atomic { takes > 0 && !no_job_is_free ->
        select(which : 0 .. JOBS - 1);
        if
        :: job[which] == free -> job[which] = none; takes--; gone(which)
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
