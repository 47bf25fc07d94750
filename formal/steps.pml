/*
 * The durable steps of one job: a step, a sleep, and a step.  Its attempts raise, are killed
 * between any two lines, or are stopped or cut off for so long that the job is given to another
 * worker while they go on; answers of writes are lost, and the server crashes and forgets the
 * claims that it has not flushed.  An operator retries the job from a step.
 *
 * A step whose value is kept is not called again by an attempt that owns the job, unless an
 * operator had it forgotten.  An attempt that has lost its job and does not know it may call one
 * more function: what that returns is refused, and the attempt is stopped.
 *
 * Left out: who may rescue which job, and that no two claims have the same lease (leases.pml);
 * which jobs may be retried (moves.pml); steps beside each other, whose order nobody is promised;
 * waits for callbacks, in which an attempt owns its job as it does while it runs; the bound of
 * crashes; dead letters.
 *
 * Guards:
 *  guard LEASE: a step is written under the lease of the row (steps.sql:write).
 *  guard RUNNING: and in a state in which an attempt owns the job (steps.sql:write).
 *  guard READ: an attempt reads what those before it have kept
 *      (awa_lib/runtime/steps.py:_known, steps.sql:of_job).
 *  guard WRITE_FIRST: a step returns when its value is written
 *      (awa_lib/runtime/steps.py:run, awa_lib/runtime/steps.py:run_in_thread).
 *  guard DURABLE: the write waits for the disk (awa_lib/runtime/links.py:_CALLBACKS).
 *  guard STAYS: a step that was written by a statement whose answer was lost stays, and is no error
 *      (steps.sql:write).
 *  guard NUMBER: an attempt numbers its steps on from those before it
 *      (awa_lib/runtime/steps.py:_known).
 *  guard AFTER: with a step those that ended after it are forgotten (steps.sql:forget_from).
 *  guard ONE_TRANSACTION: the retry and the deletion are committed together
 *      (awa_lib/ops/jobs.py:_retry_from).
 *  guard SLEEP_KEPT: a sleep is written before its attempt ends
 *      (awa_lib/runtime/steps.py:sleep).
 *  guard LEFT: a sleep that has begun lasts for the rest of its time
 *      (awa_lib/runtime/steps.py:sleep, steps.sql:of_job).
 *  guard UNCOUNTED: an attempt that ends in a sleep does not count
 *      (awa_lib/runtime/outcomes.py:_of_error).
 *  guard HERE: the steps of a job that is in any of the tables are not deleted (steps.sql:forget).
 *  guard WAKE: a job whose sleep is over becomes available (maintenance.sql:promote).
 */
//! check: assert stale - a step is kept only by the attempt that owns the job
//! check: assert again - no attempt that owns the job calls a step that was kept and not forgotten
//! check: assert before - nor calls a step, or sleeps, before those before it are kept
//! check: assert behind - a step is kept when none of those after it is
//! check: assert revived - no attempt that owns the job goes on from a value that was forgotten
//! check: assert slept - a sleep that is over is not slept again
//! check: assert reply - a write whose answer was lost can be sent again
//! check: assert counted - a job fails when it has raised as often as it may
//! check: assert missing - a job completes when each step has its value
//! check: ltl ends - the job is completed or failed in the end
//! twin: NO_LEASE breaks assert stale
//! twin: NO_RUNNING breaks assert stale
//! twin: NO_READ breaks assert again
//! twin: NO_WRITE_FIRST breaks assert before
//! twin: NO_DURABLE breaks assert again
//! twin: NO_STAYS breaks assert reply
//! twin: NO_NUMBER breaks assert again
//! twin: NO_AFTER breaks assert behind
//! twin: NO_ONE_TRANSACTION breaks assert revived
//! twin: NO_SLEEP_KEPT breaks assert slept
//! twin: NO_LEFT breaks assert slept
//! twin: NO_UNCOUNTED breaks assert counted
//! twin: NO_HERE breaks assert again
//! twin: NO_WAKE breaks ltl ends

#ifdef LARGER
#define FAULTS 2
#else
#define FAULTS 1
#endif
#define ERRORS 2
#define RETRIES 1
#define MAX_ATTEMPTS 2
#define WORKERS 2
#define STEPS 3
#define SLEEP 1
#define NOBODY 255

mtype = { available, running, parked, retryable, completed, failed };  /* states of the row */
mtype = { idle, reads, asks, calls, writes, finishes };                /* what a worker does */

/* The row of the job, and the numbers of its steps in awa.job_steps: 0 is none. */
typedef Row {
    mtype state = available;
    byte lease, attempt;
    byte number[STEPS]
}
Row row, flushed;
bool valid[STEPS];       /* kept, and not forgotten since */
bool over;               /* the time of the sleep has passed */
byte raised;             /* failures since the job began, or was retried after it had failed */
byte mine[WORKERS];      /* the lease that a worker's attempt has; 0 is none */
byte claims;
byte forgets = NOBODY;   /* a retry whose deletion is a transaction of its own: its step */
byte faults = FAULTS;    /* kills, silences, lost answers, crashes of the server */
byte errors = ERRORS, retries = RETRIES;
bool stale, again, before, behind, revived, slept, reply = true, counted = true, missing;

#define owns(l) (row.state == running && row.lease == l)
#define is_hot  (row.state != parked && row.state != retryable)
#define is_held (mine[0] == row.lease || mine[1] == row.lease)

#ifndef NO_LEASE
#define has_lease(l) (row.lease == l)
#else
#define has_lease(l) true
#endif
#ifndef NO_RUNNING
#define may_write(l) (row.state == running && has_lease(l))
#else
#define may_write(l) (is_hot && has_lease(l))
#endif

#ifndef NO_HERE
#define looks_gone false
#else
#define looks_gone (!is_hot)
#endif

inline copy(to, from) {
    to.state = from.state; to.lease = from.lease; to.attempt = from.attempt;
    to.number[0] = from.number[0]; to.number[1] = from.number[1]; to.number[2] = from.number[2]
}

/* A commit that waits for the disk; it flushes what came before it as well. */
inline commit() { copy(flushed, row) }

inline leave(w) {
    does = idle; mine[w] = 0; lease = 0; at = 0; top = 0; rest = false; outcome = 0;
    known[0] = false; known[1] = false; known[2] = false
}

/* Write the step of an attempt. */
inline keep(i, l) {
    stale = !owns(l);
    assert(!stale);
    if
    :: row.number[i] == 0 ->
        behind = (i < 2 && row.number[2] > 0) || (i < 1 && row.number[1] > 0);
        assert(!behind);
        top++;
        row.number[i] = top; valid[i] = true
    :: else ->
#ifndef NO_STAYS
        skip
#else
        reply = false; assert(reply)
#endif
    fi;
#ifndef NO_DURABLE
    commit()
#endif
}

/* What an operator means by a retry from step k: it and what comes after it is not to be used. */
inline mean(k) {
    valid[2] = false;
    if
    :: k <= 1 -> valid[1] = false; over = false
    :: else
    fi;
    if
    :: k == 0 -> valid[0] = false
    :: else
    fi
}

/* forget_from */
inline forget(k) {
    n = row.number[k];
#ifndef NO_AFTER
    if :: row.number[0] >= n -> row.number[0] = 0 :: else fi;
    if :: row.number[1] >= n -> row.number[1] = 0 :: else fi;
    if :: row.number[2] >= n -> row.number[2] = 0 :: else fi;
#else
    row.number[k] = 0;
#endif
    n = 0
}

proctype Worker(byte me) {
    mtype does = idle, outcome;
    byte lease, at, top;
    bool known[STEPS], rest;
    do
    /* claim; it is not flushed */
    :: atomic { does == idle && row.state == available ->
        claims++; lease = claims; mine[me] = claims;
        row.state = running; row.lease = claims; row.attempt++;
        does = reads }
    /* of_job */
    :: atomic { does == reads ->
#ifndef NO_READ
        known[0] = row.number[0] > 0; known[1] = row.number[1] > 0; known[2] = row.number[2] > 0;
#endif
#ifndef NO_NUMBER
        if :: row.number[0] > top -> top = row.number[0] :: else fi;
        if :: row.number[1] > top -> top = row.number[1] :: else fi;
        if :: row.number[2] > top -> top = row.number[2] :: else fi;
#endif
        rest = !over;
        does = asks }
    /* the handler comes to its next step, or to its end */
    :: atomic { does == asks ->
        if
        :: at == STEPS -> outcome = completed; does = finishes
        :: at < STEPS && known[at] ->
            revived = owns(lease) && !valid[at];
            assert(!revived);
            if
            :: at == SLEEP ->
                if
#ifndef NO_LEFT
                :: rest -> outcome = parked; does = finishes
                :: !rest -> at++
#else
                :: true ->
                    slept = owns(lease) && !rest;
                    assert(!slept);
                    outcome = parked; does = finishes
#endif
                fi
            :: else -> at++
            fi
        :: at == SLEEP && !known[at] ->
            before = owns(lease) && !valid[0];
            assert(!before);
            slept = owns(lease) && over;
            assert(!slept);
#ifndef NO_SLEEP_KEPT
            does = writes
#else
            outcome = parked; does = finishes
#endif
        :: at < STEPS && at != SLEEP && !known[at] -> does = calls
        fi }
    /* the function of the step: it returns or raises */
    :: atomic { does == calls ->
        again = owns(lease) && valid[at];
        assert(!again);
        before = owns(lease) && at == 2 && !(valid[0] && valid[1]);
        assert(!before);
        if
        :: does = writes
        :: errors > 0 -> errors--; outcome = failed; does = finishes
        fi }
    /* write */
    :: atomic { does == writes ->
        if
        :: may_write(lease) ->
            keep(at, lease);
            if
            :: at == SLEEP -> outcome = parked; does = finishes
            :: at != SLEEP -> at++; does = asks
            :: faults > 0 -> faults--        /* the answer is lost: it is sent again */
            fi
        :: !may_write(lease) -> leave(me)    /* the attempt is stopped */
#ifdef NO_WRITE_FIRST
        :: at == 0 -> at++; does = asks
#endif
        fi }
    /* finish_completed, finish_attempts */
    :: atomic { does == finishes ->
        if
        :: owns(lease) ->
            if
            :: outcome == completed ->
                missing = row.number[0] == 0 || row.number[1] == 0 || row.number[2] == 0;
                assert(!missing);
                row.state = completed
            :: outcome == parked ->
                row.state = parked;
#ifndef NO_UNCOUNTED
                row.attempt--;
#endif
#ifdef NO_SLEEP_KEPT
                over = false;
#endif
            :: outcome == failed ->
                raised++;
                if
                :: row.attempt >= MAX_ATTEMPTS ->
                    counted = (raised == MAX_ATTEMPTS);
                    assert(counted);
                    row.state = failed
                :: else -> row.state = retryable
                fi
            fi;
            commit()
        :: else
        fi;
        leave(me) }
    /* the heartbeat learns that the job is another's */
    :: atomic { does != idle && !owns(lease) -> leave(me) }
    /* a kill */
    :: atomic { does != idle && faults > 0 -> faults--; leave(me) }
    od
}

proctype Leader() {
    do
    /* rescue: of a process that is dead, or was silent for too long and goes on */
    :: atomic { row.state == running && !is_held ->
        row.state = retryable; row.attempt--; commit() }
    :: atomic { row.state == running && is_held && faults > 0 ->
        faults--; row.state = retryable; row.attempt--; commit() }
    /* promote */
    :: atomic { row.state == retryable -> row.state = available; commit() }
#ifndef NO_WAKE
    :: atomic { row.state == parked && over -> row.state = available; commit() }
#endif
    /* forget */
    :: atomic { looks_gone && row.number[0] > 0 ->
        row.number[0] = 0; row.number[1] = 0; row.number[2] = 0; commit() }
    /* the time of the sleep passes */
#ifndef NO_SLEEP_KEPT
    :: atomic { valid[SLEEP] && !over -> over = true }
#else
    :: atomic { row.state == parked && !over -> over = true }
#endif
    od
}

proctype Database() {
    do
    /* others use the server while the job sleeps */
    :: row.state == parked -> skip
    /* the server flushes a claim */
    :: atomic { flushed.lease != row.lease || flushed.state != row.state -> commit() }
    /* a crash: what was not flushed is forgotten */
    :: atomic { faults > 0 && (flushed.lease != row.lease || flushed.number[0] != row.number[0]
                || flushed.number[1] != row.number[1] || flushed.number[2] != row.number[2]) ->
        faults--; copy(row, flushed) }
    od
}

#define may_retry (row.state == failed || row.state == retryable)

inline retry(k) {
    retries--;
    if
    :: row.state == failed -> row.attempt = 0; raised = 0
    :: else
    fi;
    row.state = available;
    mean(k);
#ifndef NO_ONE_TRANSACTION
    forget(k);
#else
    forgets = k;
#endif
    commit()
}

proctype Operator() {
    byte n;
end:
    do
    :: atomic { retries > 0 && may_retry && row.number[0] > 0 -> retry(0) }
    :: atomic { retries > 0 && may_retry && row.number[1] > 0 -> retry(1) }
    :: atomic { retries > 0 && may_retry && row.number[2] > 0 -> retry(2) }
#ifdef NO_ONE_TRANSACTION
    :: atomic { forgets != NOBODY && row.number[forgets] > 0 ->
        forget(forgets); forgets = NOBODY; commit() }
#endif
    od
}

init { atomic { run Worker(0); run Worker(1); run Leader(); run Database(); run Operator() } }

ltl ends { <> [] (row.state == completed || row.state == failed) }
