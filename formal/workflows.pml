/*
 * A task of a workflow starts once, when its parents allow it, whoever ends their jobs.
 *
 * A child waits for the success of two parents, an alert for the failure of one.  The end of a job is written by a worker of ours,
 * which notes it in the same transaction and then moves the workflow on, or by anybody else, who
 * notes nothing.  To move on is four steps, as the statements of awa.resolve_workflow are: wait for
 * the row of the workflow, take the notes, read the jobs, decide and commit.  A failed job may be
 * retried at any time.  A process may die between its end and the move.
 *
 * Left out: rules other than all_succeeded, groups and signals, which change only what a parent
 * counts as; tasks that are added later, which is a move under the same lock; the cascade behind a
 * skipped child.
 *
 * Guards:
 *  guard LOCK: a workflow is moved on by one transaction at a time, which reads the jobs under the
 *      lock of its row (0027_count_parents_once.sql:resolve_workflow).
 *  guard SWEEP: a sweep compares the tasks with their jobs
 *      (workflows.sql:unseen_ends).
 *  guard AGAIN: a skipped task is decided anew when a parent is in another state
 *      (0027_count_parents_once.sql:resolve_workflow).
 *  guard ONCE: a task that has started is not decided again
 *      (0027_count_parents_once.sql:resolve_workflow).
 */
//! check: assert twice - the job of the alert is inserted once, whatever is retried
//! check: assert early - the child starts when both parents have succeeded
//! check: ltl decided - when both parents have succeeded the child has started in the end
//! twin: NO_LOCK breaks ltl decided
//! twin: NO_SWEEP breaks ltl decided
//! twin: NO_AGAIN breaks ltl decided
//! twin: NO_ONCE breaks assert twice

#ifdef LARGER
#define RETRIES 3
#define DEATHS 2
#define FAILURES 3
#else
#define RETRIES 2
#define DEATHS 1
#define FAILURES 2
#endif

mtype = { running, succeeded, failed, waiting, started, skipped }

mtype job[2] = running;         /* the rows of the parents' jobs */
mtype node[2] = running;        /* what the graph knows of them */
bool noted[2];                  /* awa.workflow_events */
mtype child = waiting;
mtype alert = waiting;          /* runs when a parent has failed */
byte alerts;                    /* its jobs */
byte open = 2, bad;             /* counts in the child's row */
byte retries = RETRIES, deaths = DEATHS, failures = FAILURES;
bool locked;
bool twice, early;

/* Decide from the counts that this transaction has read; the counts are written as changes. */
inline decide(open_now, bad_now) {
    if
    :: child == started -> skip
#ifdef NO_AGAIN
    :: child == skipped -> skip
#endif
    :: child != started && bad_now > 0 -> child = skipped
    :: child != started && bad_now == 0 && open_now > 0 -> child = waiting
    :: child != started && bad_now == 0 && open_now == 0 ->
        early = early || (job[0] != succeeded || job[1] != succeeded);
        child = started
    fi;
    if
#ifndef NO_ONCE
    :: alert == started -> skip
    :: alert != started && bad_now > 0 ->
#else
    :: bad_now > 0 ->
#endif
        alert = started; alerts++; twice = twice || alerts > 1
    :: else
    fi
}

inline resolve() {
    atomic {
#ifndef NO_LOCK
        !locked -> locked = true;
#endif
        /* Without the lock the counts are read here and may be old at the decision. */
        o = open; b = bad
    }
    d_step {
        n = 0;
        do
        :: n < 2 ->
            change[n] = (noted[n] && node[n] != job[n]);
            noted[n] = false;
            n++
        :: else -> break
        od;
        n = 0
    }
    atomic {
        any = false;
        for (n : 0 .. 1) {
            if
            :: change[n] && node[n] != job[n] ->
                if
                :: node[n] == running -> o--; open--
                :: node[n] == failed -> b--; bad--
                :: else
                fi;
                if
                :: job[n] == running -> o++; open++
                :: job[n] == failed -> b++; bad++
                :: else
                fi;
                node[n] = job[n];
                any = true
            :: else
            fi;
            change[n] = false
        }
        n = 0;
        if
        :: any -> decide(o, b); assert(!twice); assert(!early)
        :: else
        fi;
        any = false; o = 0; b = 0;
#ifndef NO_LOCK
        locked = false
#endif
    }
}

proctype Job(byte me) {
    byte n, o, b;
    bool change[2], any;
    do
    :: job[me] == running ->
        if
        :: atomic { failures > 0 -> failures--; job[me] = failed; noted[me] = true }
        :: atomic { job[me] = succeeded; noted[me] = true }
        :: atomic { job[me] = succeeded }               /* a worker of awa 0.5 */
            goto more
        fi;
        if
        :: deaths > 0 -> deaths--
        :: resolve()
        fi;
more:   skip
    :: atomic { job[me] == failed && retries > 0 -> retries--; job[me] = running }
    :: job[me] == succeeded -> break
    :: job[me] == failed && retries == 0 -> break
    od
}

proctype Sweep() {
    byte n, o, b;
    bool change[2], any;
end:
    do
#ifndef NO_SWEEP
    :: atomic { node[0] != job[0] && !noted[0] -> noted[0] = true }
    :: atomic { node[1] != job[1] && !noted[1] -> noted[1] = true }
#endif
    :: noted[0] || noted[1] -> resolve()
    od
}

init { atomic { run Job(0); run Job(1); run Sweep() } }

ltl decided { [] (([] (job[0] == succeeded && job[1] == succeeded)) -> <> (child == started)) }
