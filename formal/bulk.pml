/*
 * One bulk operation (set_priority) that two leaders carry out in batches; the old leader is
 * stopped in the middle of a batch and continues, or is killed.  Strangers lock jobs, move jobs
 * out of the filter, insert new jobs, and cancel the operation.
 *
 * A batch is one transaction: it locks the row of the operation, reads a page of ids, locks the
 * jobs, tests them again, changes them and records its progress.  What it has not committed is
 * in the leader's own variables, so that a rollback is a loss of them.
 *
 * Left out: other operations (retry, cancel, delete change the state, so that a changed job no
 * longer fits; set_priority is the case that can be done twice), several operations, the size
 * of steps, and the pauses between tries.  A job "existed" when its id was drawn before the
 * submit.
 *
 * Guards:
 *  guard TAKE_LOCK: a batch locks the row of its operation until the commit
 *      (bulk.sql:take_next, take_one).
 *  guard TAKE_OPEN: an operation that has ended is not taken (bulk.sql:take_next, take_one).
 *  guard ONE_TRANSACTION: changes and progress are committed together
 *      (awa_lib/ops/batches.py:do_batch, bulk.sql:advance).
 *  guard UPTO: only ids up to last_id are read (bulk.sql:matching_ids).
 *  guard STILL_FIT: jobs are tested again under their locks (bulk.sql:still_fit).
 *  guard DEFERRED: jobs that are locked are tried again at the end
 *      (awa_lib/ops/batches.py:_batch).
 *  guard CURSOR: the next page begins behind the last one (bulk.sql:advance, matching_ids).
 *  guard WORN_OUT: jobs that stay locked are given up (awa_lib/ops/batches.py:_batch).
 *  guard GIVE_UP: an operation whose batches keep failing fails (bulk.sql:put_off).
 *  guard SESSION_END: the server ends the session of a leader that is silent in a transaction
 *      (awa_lib/runtime/sessions.py:idle_in_transaction_session_timeout).
 */
//! check: assert once - each job is changed at most once
//! check: assert existed - jobs inserted after the submit are not changed
//! check: assert fitting - a job that does not match any longer is not changed
//! check: assert stopped - nothing is changed once the operation is cancelled
//! check: assert counted - the counts say what was changed, and every job that was found is counted
//! check: ltl ends - the operation ends
//! twin: NO_TAKE_LOCK breaks assert once
//! twin: NO_TAKE_OPEN breaks assert stopped
//! twin: NO_ONE_TRANSACTION breaks assert once
//! twin: NO_UPTO breaks assert existed
//! twin: NO_STILL_FIT breaks assert fitting
//! twin: NO_DEFERRED breaks assert counted
//! twin: NO_CURSOR breaks assert once
//! twin: NO_WORN_OUT breaks ltl ends
//! twin: NO_GIVE_UP breaks ltl ends
//! twin: NO_SESSION_END breaks ltl ends

#ifdef LARGER
#define JOBS 4
#define STOPS 2
#else
#define JOBS 3
#define STOPS 1
#endif
#define BATCH 2
#define TRIES 2

mtype = { open, completed, cancelled, failed };
mtype = { at_rest, taken, found, locked, changed };     /* how far a batch is */

/* The row of awa.bulk_operations. */
mtype state = open;
byte cursor, deferred, processed, skipped, errored, failures;
byte holder = 0;            /* the session that has locked it, plus one */

/* Jobs 1 to JOBS exist at the submit; one more is inserted later.  Sets of jobs are bits. */
#define all    ((2 << JOBS) - 2)
#define newer  (2 << JOBS)
byte fits = all;            /* match the filter */
byte held;                  /* locked by a batch */
byte foreign;               /* locked by a stranger */
byte stuck;                 /* a change waits for another transaction's unique key, for good */
bool wall;                  /* every batch fails, for good */
byte done;                  /* changed by the operation */
byte seen;                  /* jobs that a page of the operation has found */
bool once = true, existed = true, fitting = true, stopped = true, counted = true;
byte locks = 1, moves = 1, kills = 1, stops = STOPS, cancels = 1;

#define count(set) (((set >> 1) & 1) + ((set >> 2) & 1) + ((set >> 3) & 1) + ((set >> 4) & 1) \
                    + ((set >> 5) & 1))

#ifndef NO_TAKE_LOCK
#define is_free (holder == 0)
#else
#define is_free true
#endif
#ifndef NO_TAKE_OPEN
#define may_go_on (state == open)
#else
#define may_go_on (state == open || state == cancelled)
#endif
#ifndef NO_UPTO
#define upto JOBS
#else
#define upto (JOBS + 1)
#endif
#ifndef NO_CURSOR
#define from cursor
#else
#define from 0
#endif

inline change(set) {
    once = ((set & done) == 0); assert(once);
    existed = ((set & newer) == 0); assert(existed);
    fitting = ((set & fits) == set); assert(fitting);
    stopped = (state != cancelled); assert(stopped);
    done = done | set
}

inline rest() {
    held = held & ~mine;
    if :: holder == me + 1 -> holder = 0 :: else fi;
    does = at_rest; mine = 0; page = 0; good = 0; until = 0; later = 0; first = false
}

proctype Leader(byte me) {
    mtype does = at_rest;
    byte page, mine, good, until, later, job, again;
    bool first, silent, gone;
    do
    /* take_next */
    :: atomic { !silent && does == at_rest && is_free && may_go_on ->
        holder = me + 1; does = taken }
    /* matching_ids, without a lock; or the jobs that were locked before */
    :: atomic { !silent && does == taken && !gone ->
        first = (cursor < JOBS); later = deferred; until = cursor; page = 0;
        if
        :: first ->
            until = JOBS; job = from + 1;
            do
            :: job > upto || count(page) == BATCH -> break
            :: else ->
                if
                :: (fits >> job) & 1 -> page = page | (1 << job);
                    if :: count(page) == BATCH -> until = job :: else fi
                :: else
                fi;
                job++
            od;
            job = 0
        :: else -> page = deferred; later = 0
        fi;
        does = found }
    /* lock_jobs, with SKIP LOCKED */
    :: atomic { !silent && does == found && !gone ->
        mine = page & ~(held | foreign); held = held | mine; does = locked }
    /* still_fit, the change, advance, commit */
    :: atomic { !silent && does == locked && !gone && !wall ->
#ifndef NO_STILL_FIT
        good = mine & fits;
#else
        good = mine;
#endif
        again = good & stuck; good = good & ~stuck;
        change(good);
#ifndef NO_ONE_TRANSACTION
        does = changed;
#else
        held = held & ~mine; does = changed }
    :: atomic { !silent && does == changed && !gone ->
#endif
        seen = seen | page;
        processed = processed + count(good);
        skipped = skipped + count(mine) - count(good) - count(again);
        if
        :: first ->
#ifndef NO_DEFERRED
            later = later | again | (page & ~mine)
#endif
        :: else ->
            skipped = skipped + count(page) - count(mine);
            if
            :: !again
#ifndef NO_WORN_OUT
            :: again && failures >= TRIES -> errored = errored + count(again)
            :: again && failures < TRIES -> later = later | again; failures++
#else
            :: again -> later = later | again
#endif
            fi
        fi;
        again = 0;
        cursor = until; deferred = later;
        if
        :: state == open && cursor == JOBS && !deferred ->
            state = completed;
            counted = (processed == count(done)
                       && processed + skipped + errored == count(seen));
            assert(counted)
        :: else
        fi;
        rest() }
    /* the batch fails: put_off, in a transaction of its own */
    :: atomic { !silent && does == locked && !gone && wall ->
        rest();
#ifndef NO_GIVE_UP
        if
        :: state == open && failures >= TRIES -> state = failed
        :: state == open && failures < TRIES -> failures++
        :: else
        fi
#endif
        }
    /* killed, or stopped; the server rolls back */
    :: atomic { kills > 0 && does != at_rest && !silent -> kills--; rest(); gone = false }
    :: atomic { stops > 0 && !silent && does != at_rest -> stops--; silent = true }
    :: atomic { silent && gone -> silent = false; gone = false; rest() }
#ifndef NO_SESSION_END
    :: atomic { silent && !gone && does != at_rest -> rest(); gone = true }
#endif
    od
}

proctype Stranger() {
    byte job;
    do
    :: atomic { locks > 0 -> locks--; select(job : 1 .. JOBS);
        if :: !((held >> job) & 1) -> foreign = foreign | (1 << job) :: else fi; job = 0 }
    :: atomic { foreign -> foreign = 0 }
    :: atomic { moves > 0 -> moves--; select(job : 1 .. JOBS);
        if :: !((held >> job) & 1) -> fits = fits & ~(1 << job) :: else fi; job = 0 }
    /* an insert */
    :: atomic { !((fits >> (JOBS + 1)) & 1) -> fits = fits | newer }
    /* cancel, which waits for the batch in progress */
    :: atomic { cancels > 0 && holder == 0 && state == open -> cancels--; state = cancelled }
    od
}

init {
    atomic {
        if :: stuck = 0 :: stuck = 2 << 1 fi;
        if :: wall = false :: wall = true fi;
        run Leader(0); run Leader(1); run Stranger()
    }
}

ltl ends { <> (state != open) }
