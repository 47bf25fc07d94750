/*
 * The places of jobs, and their unique key: insert, promotion, claim, end, retry, cancel,
 * retention, and the dead letters.  The jobs 0 and 1 have the same key, the job 2 has none.
 *
 * A statement first reads which rows it is about, without a lock, and then locks and tests them
 * again, changes them and commits, all at once; between the two anything may happen.  A trigger
 * on both job tables keeps the row of awa.job_unique_claims; the dead letters have no trigger.
 * A statement that meets the key of another job fails as a whole.
 *
 * The states that hold a key are a choice of the producer: those of awa 0.5 (scheduled,
 * available, running, completed, retryable), only available and running (so that a key is
 * missing first at promotion), or all.
 *
 * Left out: what else is in the rows, and callbacks; deadlocks of several keys (keys are
 * claimed in key order); replacing the arguments of a job that has not started
 * (jobs.sql:replace_job), which is a retry and a promotion in one.
 *
 * Guards:
 *  guard UNIQUE: the unique index refuses a second claim of a key (idx_awa_jobs_unique).
 *  guard RELEASE: a job that leaves the states of its key, or the tables, releases it
 *      (awa.sync_job_unique_claims, old side).
 *  guard CLAIM: a job that enters these states claims its key (awa.sync_job_unique_claims, new
 *      side).
 *  guard SAME_JOB: the claim of the same job is no conflict (awa.sync_job_unique_claims,
 *      holder; jobs.sql:insert_unique_jobs).
 *  guard ONE_STATEMENT: a move deletes and inserts in one statement (maintenance.sql:promote,
 *      dead_letters.sql:move_failed, retry; claims.sql:finish_attempts).
 *  guard TEST_PROMOTE: a due job is locked and tested before it moves
 *      (maintenance.sql:promote).
 *  guard TEST_FAILED: a job is failed when it moves to the dead letters
 *      (dead_letters.sql:move_failed).
 *  guard TEST_ENDED: a job is ended when it is deleted (maintenance.sql:delete_old,
 *      bulk.sql:delete).
 *  guard TEST_RETRY: a job is failed, cancelled, waiting or retryable when it is retried
 *      (jobs.sql:retry_jobs).
 *  guard TEST_CANCEL: a job that has ended is not cancelled (jobs.sql:cancel_jobs).
 *  guard TEST_DRAIN: a job that is drained still waits (queues.sql:drain).
 *  guard FOR_DEAD: a failed job that is to become a dead letter is not deleted
 *      (maintenance.sql:delete_unsuccessful, old_unsuccessful).
 *  guard APART: a job whose key is taken does not stop the promotion of others
 *      (awa_lib/ops/apart.py:change_apart).
 *  guard SPENT: a job whose key was taken while it waited for a callback fails at the time-out
 *      (awa_lib/ops/maintenance.py:rescue, fail).
 */
//! check: assert single - at most one job is in a state that holds the key
//! check: assert orphan - nobody holds the key of a job that does not hold it
//! check: assert claimed - a job in a state that holds the key has the claim
//! check: assert twofold - no job is in two tables
//! check: assert nowhere - a job is in no table only after it was deleted
//! check: assert living - only jobs that have ended become dead letters or are deleted
//! check: assert revived - a cancelled job does not become available by a promotion
//! check: assert restarted - a running job is not retried
//! check: assert spared - an ended job is not cancelled, and a running job is not drained
//! check: assert unread - a failed job that is to become a dead letter is not deleted before
//! check: ltl promoted - a due job without a key becomes available
//! check: ltl over - a job that waits for a callback goes on although its key was taken
//! check: ltl inserted - a job whose key is free is inserted
//! twin: NO_UNIQUE breaks assert single
//! twin: NO_RELEASE breaks assert orphan
//! twin: NO_CLAIM breaks assert claimed
//! twin: NO_SAME_JOB breaks ltl inserted
//! twin: NO_ONE_STATEMENT breaks assert nowhere
//! twin: NO_TEST_PROMOTE breaks assert revived
//! twin: NO_TEST_FAILED breaks assert living
//! twin: NO_TEST_ENDED breaks assert living
//! twin: NO_TEST_RETRY breaks assert restarted
//! twin: NO_TEST_CANCEL breaks assert spared
//! twin: NO_TEST_DRAIN breaks assert spared
//! twin: NO_FOR_DEAD breaks assert unread
//! twin: NO_APART breaks ltl promoted
//! twin: NO_SPENT breaks ltl over

#ifdef LARGER
#define CHANGES 3
#define MOVES 2
#else
#define CHANGES 2
#define MOVES 1
#endif
#define JOBS 3

mtype = { none, scheduled, available, running, completed, retryable, failed, cancelled, waiting };
mtype = { usual, brief, every };

mtype state[JOBS] = none;
bool hot[JOBS], cold[JOBS], dead[JOBS], deleted[JOBS];
byte holder;                 /* the job that has the claim, plus one */
mtype mask;                  /* the states that hold the key */
byte changes = CHANGES;      /* what operators still do */
byte moves = MOVES;          /* what the leader still moves and deletes */
byte ends = 2;               /* attempts that do not complete */

#define held_states(s)  (s == available || s == running \
                         || (mask != brief \
                             && (s == scheduled || s == completed || s == retryable)) \
                         || (mask == every && (s == failed || s == cancelled || s == waiting)))
#define is_in(j)        (hot[j] || cold[j])
#define holds(j)        (j < 2 && is_in(j) && held_states(state[j]))
#define has_ended(j)    (state[j] == completed || state[j] == failed || state[j] == cancelled)
#ifndef NO_UNIQUE
#define is_taken(j)     (holder && holder != j + 1)
#else
#define is_taken(j)     false
#endif

inline check() {
    single = !(holds(0) && holds(1)); assert(single);
    orphan = (holder && !holds(holder - 1)); assert(!orphan);
    claimed = (!(holds(0) && holder != 1) && !(holds(1) && holder != 2)); assert(claimed);
    twofold = (hot[0] + cold[0] + dead[0] > 1 || hot[1] + cold[1] + dead[1] > 1
               || hot[2] + cold[2] + dead[2] > 1);
    assert(!twofold);
    nowhere = ((state[0] != none && !is_in(0) && !dead[0] && !deleted[0])
               || (state[1] != none && !is_in(1) && !dead[1] && !deleted[1])
               || (state[2] != none && !is_in(2) && !dead[2] && !deleted[2]));
    assert(!nowhere)
}
bool single, orphan, claimed, twofold, nowhere, living = true, revived, restarted;
bool spared = true, unread;

/* A job becomes a row in this state, in the hot or the cold table; ok is false after a conflict,
 * when nothing has changed. */
inline put(j, into) {
    ok = true;
    if
    :: j < 2 && held_states(into) && is_taken(j) -> ok = false
    :: else ->
        if
#ifndef NO_RELEASE
        :: holds(j) && !held_states(into) -> holder = (holder == j + 1 -> 0 : holder)
#endif
#ifndef NO_CLAIM
        :: j < 2 && held_states(into) -> holder = j + 1
#endif
        :: else
        fi;
        state[j] = into; dead[j] = false;
        cold[j] = (into == scheduled || into == retryable); hot[j] = !cold[j]
    fi;
    check()
}
/* A job leaves both job tables. */
inline drop(j) {
#ifndef NO_RELEASE
    if :: holder == j + 1 -> holder = 0 :: else fi;
#endif
    hot[j] = false; cold[j] = false
}

proctype Producer(byte j) {
    bool ok;
    do
    /* insert_unique_jobs: the claim first, then the row; what conflicts is not inserted */
    :: atomic { state[j] == none && !is_taken(j) ->
        if
#ifndef NO_SAME_JOB
        :: j < 2 && held_states(scheduled) -> put(j, scheduled)
#else
        :: j < 2 && held_states(scheduled)
#endif
        :: j == 2 || !held_states(scheduled) -> put(j, scheduled)
        fi }
    od
}

proctype Worker() {
    byte j;
    bool ok;
    do
    :: atomic { select(j : 0 .. JOBS - 1);
        if
        :: hot[j] && state[j] == available -> put(j, running)
        :: hot[j] && state[j] == running ->
            if
            :: put(j, completed)
            :: ends > 0 -> ends--; put(j, failed)
            :: ends > 0 -> ends--; put(j, retryable);
                /* the key is taken: the attempt ends as failed */
                if :: !ok -> put(j, failed) :: else fi
            :: ends > 0 -> ends--; put(j, waiting)
            fi
        :: else
        fi;
        j = 0 }
    od
}

proctype Leader() {
    byte j;
    bool ok, due[JOBS], whole;
    do
    /* due_scheduled, due_retryable */
    :: atomic { cold[0] || cold[1] || cold[2] ->
        due[0] = cold[0]; due[1] = cold[1]; due[2] = cold[2] }
    /* promote: all of them; if that fails, each by itself */
       atomic {
#ifndef NO_APART
        whole = true;
#else
        whole = !((due[0] && cold[0] && is_taken(0)) || (due[1] && cold[1] && is_taken(1))
                  || (due[0] && cold[0] && due[1] && cold[1]));
#endif
        do
        :: j < JOBS && whole ->
            if
#ifndef NO_TEST_PROMOTE
            :: due[j] && cold[j] ->
#else
            :: due[j] && is_in(j) ->
#endif
                revived = (state[j] == cancelled); assert(!revived);
                put(j, available)
            :: else
            fi;
            due[j] = false; j++
        :: else -> break
        od;
        due[0] = false; due[1] = false; due[2] = false; whole = false;
        j = 0 }
    od
}

/* Waits end by an answer or a time-out; the key may be taken meanwhile. */
proctype Waits() {
    bool ok;
    byte j;
    do
    /* resume_external: refused if the key is taken */
    :: atomic { changes > 0 && (state[0] == waiting || state[1] == waiting) ->
        changes--;
        if :: state[0] == waiting -> j = 0 :: state[1] == waiting -> j = 1 fi;
        put(j, running); j = 0 }
    /* rescue; a job whose key is taken fails */
    :: atomic { state[0] == waiting || state[1] == waiting || state[2] == waiting ->
        if
        :: state[0] == waiting -> j = 0
        :: state[1] == waiting -> j = 1
        :: state[2] == waiting -> j = 2
        fi;
        put(j, retryable);
#ifndef NO_SPENT
        if :: !ok -> put(j, failed) :: else fi;
#endif
        j = 0 }
    od
}

#ifndef NO_TEST_FAILED
#define may_die(j)     (hot[j] && state[j] == failed)
#else
#define may_die(j)     hot[j]
#endif
/* Failed jobs become dead letters, or are deleted; a choice of its own would double the states. */
#define letters        (mask != every)
#ifndef NO_FOR_DEAD
#define is_for_dead(j) (letters && state[j] == failed)
#else
#define is_for_dead(j) false
#endif
#ifndef NO_TEST_ENDED
#define may_go(j)      (hot[j] && has_ended(j) && !is_for_dead(j))
#else
#define may_go(j)      (hot[j] && !is_for_dead(j))
#endif
#ifndef NO_TEST_CANCEL
#define may_cancel(j)  (is_in(j) && !has_ended(j))
#else
#define may_cancel(j)  is_in(j)
#endif
#ifndef NO_TEST_DRAIN
#define may_drain(j)   (cold[j] || (hot[j] && (state[j] == available || state[j] == waiting)))
#else
#define may_drain(j)   (cold[j] || (hot[j] && !has_ended(j)))
#endif
#define is_retried(j)  (is_in(j) \
                        && (state[j] == failed || state[j] == cancelled || state[j] == retryable \
                            || state[j] == waiting))
#ifndef NO_TEST_RETRY
#define may_restart(j) is_retried(j)
#else
#define may_restart(j) is_in(j)
#endif

/* The leader's other duties: each first looks, then changes. */
proctype Cleaner() {
    byte j;
    do
    /* failed_ids_of_policies, move_failed */
    :: atomic { letters && moves > 0 && (state[0] == failed || state[1] == failed
                                         || state[2] == failed) ->
        moves--; select(j : 0 .. JOBS - 1) }
        atomic {
        if
        :: may_die(j) ->
            living = has_ended(j); assert(living);
            drop(j);
#ifndef NO_ONE_STATEMENT
            dead[j] = true;
#else
            check(); dead[j] = true;
#endif
            check()
        :: else
        fi; j = 0 }
    /* delete_old, bulk.sql:delete, discard_failed */
    :: atomic { moves > 0 && (has_ended(0) || has_ended(1) || has_ended(2)) ->
        moves--; select(j : 0 .. JOBS - 1) }
        atomic {
        if
        :: may_go(j) ->
            living = has_ended(j); assert(living);
            unread = (letters && state[j] == failed); assert(!unread);
            drop(j); deleted[j] = true; check()
        :: else
        fi; j = 0 }
    od
}

proctype Operator() {
    byte j;
    bool ok;
    do
    /* cancel_jobs */
    :: atomic { changes > 0 -> changes--; select(j : 0 .. JOBS - 1);
        if
        :: may_cancel(j) -> spared = !has_ended(j); assert(spared); put(j, cancelled)
        :: else
        fi; j = 0 }
    /* drainable_ids, drain */
    :: atomic { changes > 0 && (cold[0] || cold[1] || cold[2] || state[0] == available
                                || state[1] == available || state[2] == available) ->
        changes--; select(j : 0 .. JOBS - 1) }
        atomic {
        if
        :: may_drain(j) -> spared = (state[j] != running); assert(spared); put(j, cancelled)
        :: else
        fi; j = 0 }
    /* retry_jobs: the id was seen before */
    :: atomic { changes > 0 && (is_retried(0) || is_retried(1) || is_retried(2)) ->
        changes--; select(j : 0 .. JOBS - 1) }
        atomic {
        if
        :: may_restart(j) ->
            restarted = (state[j] == running); assert(!restarted);
            put(j, available)
        :: else
        fi; j = 0 }
    /* dead_letters.sql:retry, purge */
    :: atomic { changes > 0 && (dead[0] || dead[1] || dead[2]) ->
        changes--; select(j : 0 .. JOBS - 1);
        if
        :: dead[j] -> put(j, available)
        :: dead[j] -> dead[j] = false; deleted[j] = true; check()
        :: else
        fi; j = 0 }
    od
}

init {
    atomic {
        if :: mask = usual :: mask = brief :: mask = every fi;
        run Producer(0); run Producer(1); run Producer(2);
        run Worker(); run Leader(); run Waits(); run Cleaner(); run Operator()
    }
}

ltl promoted { [] (cold[2] -> <> !cold[2]) }
ltl over { [] (state[0] == waiting -> <> (state[0] != waiting)) }
ltl inserted { <> (state[0] != none || state[1] != none) }
