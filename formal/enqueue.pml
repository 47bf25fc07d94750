/*
 * Single inserts of many tasks, batched into shared statements by a client's batcher.
 *
 * Caller 0 inserts a plain job.  Callers 1 and 2 insert jobs with the same unique key.  Caller 3
 * inserts a job that the database rejects.  Callers may be cancelled, the connection may be lost
 * before or after a commit, the task that writes for all may be cancelled from outside, and the
 * client is closed at some moment.
 *
 * One event loop: what stands between two awaits is one step.  Left out: the bound of 1,000 jobs in
 * a batch, and the retries of a transient error, which end after ten seconds.  The members of a
 * batch are in the order of their numbers.
 *
 * Guards:
 *  guard DONE: a caller that has its answer gets no second one
 *      (awa_lib/client/batcher.py:_send, awa_lib/client/batcher.py:_fail).
 *  guard HALVES: a batch that fails is sent again in halves, so that only the job with the error
 *      gets the error (awa_lib/client/batcher.py:_send).
 *  guard NOT_AGAIN: nothing is sent again after the loss of a connection
 *      (awa_lib/client/batcher.py:_send).
 *  guard ONE_STATEMENT: a batch is inserted whole or not at all
 *      (awa_lib/ops/inserts.py:_chunk, jobs.sql:insert_jobs).
 *  guard SKIP_DONE: the job of a caller that was cancelled before it was sent is not sent
 *      (awa_lib/client/batcher.py:_flush).
 *  guard CUT_OFF: when the writing task is cancelled its callers get an error
 *      (awa_lib/client/batcher.py:_flush).
 *  guard RESTART: and those that still wait get a new task (awa_lib/client/batcher.py:_ended).
 *  guard CLOSE_ANSWERS: a close that lasts too long refuses those that wait
 *      (awa_lib/client/batcher.py:close).
 */
//! check: assert second_answer - no caller is answered twice
//! check: assert false_success - a job that is acknowledged is committed
//! check: assert false_failure - a job that is refused is not committed
//! check: assert foreign_error - no caller gets the error of another job
//! check: assert inserted - no job is inserted twice
//! check: assert unwanted - no job is inserted whose caller was cancelled before it was sent
//! check: ltl answered - each caller is answered, or cancelled
//! twin: NO_DONE breaks assert second_answer
//! twin: NO_HALVES breaks assert foreign_error
//! twin: NO_NOT_AGAIN breaks assert inserted
//! twin: NO_ONE_STATEMENT breaks assert inserted
//! twin: NO_SKIP_DONE breaks assert unwanted
//! twin: NO_CUT_OFF breaks ltl answered
//! twin: NO_RESTART breaks ltl answered
//! twin: NO_CLOSE_ANSWERS breaks ltl answered

#define CALLERS 4
#ifdef LARGER
#define FAULTS 3
#define CANCELS 2
#else
#define FAULTS 2
#define CANCELS 1
#endif

mtype = { not_yet, pending, success, own_error, unknown, refused, cancelled };  /* a caller */
mtype = { none, scheduled, at_work, over };                                     /* the task */
mtype = { committed, rejected, lost };                          /* what a statement came to */

mtype future[CALLERS] = not_yet;
bool waiting[CALLERS];     /* not in a batch yet */
bool in_batch[CALLERS];
byte inserted[CALLERS];    /* rows of the caller's job */
bool key_taken;            /* by the job of caller 1 or 2 */
bool closed;
mtype task = none;
bool cut;                  /* the task is cancelled from outside */

byte faults = FAULTS, cancels = CANCELS;
bool second_answer, false_success, false_failure, foreign_error, unwanted;

#define is_waiting  (waiting[0] || waiting[1] || waiting[2] || waiting[3])

inline answer(c, what) {
#ifndef NO_DONE
    if
    :: future[c] != pending
    :: future[c] == pending -> set(c, what)
    fi
#else
    set(c, what)
#endif
}

inline set(c, what) {
    second_answer = (future[c] != pending);
    false_success = (what == success && inserted[c] == 0);
    false_failure = ((what == own_error || what == refused) && inserted[c] > 0);
    foreign_error = (what == own_error && c == 0);
    assert(!second_answer);
    assert(!false_success);
    assert(!false_failure);
    assert(!foreign_error);
    future[c] = what
}

/* Batcher.insert */
proctype Caller(byte me) {
    atomic {
        if
        :: closed -> future[me] = refused
        :: !closed ->
            future[me] = pending; waiting[me] = true;
            if
            :: task == none || task == over -> task = scheduled
            :: else
            fi
        fi }
    do
    :: atomic { future[me] == pending && cancels > 0 -> cancels--; future[me] = cancelled }
    :: future[me] != pending -> break
    od
}

/* The statement for the members start .. start + size - 1 of the batch. */
inline insert_batch() {
    is_rejected = false;
    for (i : start .. start + size - 1) {
        c = member[i];
        if
        :: c == 3 || (key_taken && (c == 1 || c == 2)) -> is_rejected = true
        :: c == 2 && i > start && member[i - 1] == 1 -> is_rejected = true
        :: else
        fi
    }
#ifndef NO_ONE_STATEMENT
    if
    :: is_rejected
    :: else ->
#else
    if
    :: true ->
#endif
        for (i : start .. start + size - 1) {
            c = member[i];
            if
            :: c == 3
            :: (c == 1 || c == 2) && key_taken
            :: else ->
                inserted[c]++;
                assert(inserted[c] <= 1);
                key_taken = key_taken || c == 1 || c == 2
            fi
        }
    fi
}

inline halve() {
    c = size / 2;
    parts[open] = start + c; part_size[open] = size - c; open++;
    parts[open] = start; part_size[open] = c; open++;
    c = 0
}

/* Batcher._flush and _send; parts are the halves that are still to be sent. */
proctype Task() {
    byte member[CALLERS], members, i, c, start, size;
    byte parts[CALLERS], part_size[CALLERS], open;
    mtype came_to;
    bool is_rejected;
    do
    :: atomic { task == scheduled && !is_waiting -> task = over }
    :: atomic { task == scheduled && is_waiting ->
        /* take the batch */
        task = at_work; members = 0;
        for (c : 0 .. CALLERS - 1) {
            if
#ifndef NO_SKIP_DONE
            :: waiting[c] && future[c] == pending ->
#else
            :: waiting[c] ->
#endif
                member[members] = c; members++; in_batch[c] = true;
                unwanted = (future[c] == cancelled);
                assert(!unwanted)
            :: else
            fi;
            waiting[c] = false
        }
        open = 0;
        if
        :: members > 0 -> parts[0] = 0; part_size[0] = members; open = 1
        :: else
        fi }
    /* send a part */
    :: atomic { task == at_work && open > 0 && came_to == 0 && !cut ->
        open--; start = parts[open]; size = part_size[open];
        if
        :: insert_batch();
            if
            :: is_rejected -> came_to = rejected
            :: else -> came_to = committed
            fi
        :: faults > 0 -> faults--; came_to = lost;
            if
            :: insert_batch()
            :: true
            fi
        fi;
        is_rejected = false; c = 0; i = 0 }
    /* its answer */
    :: atomic { task == at_work && came_to != 0 && !cut ->
        if
        :: came_to == committed ->
            for (i : start .. start + size - 1) { answer(member[i], success) }
#ifndef NO_NOT_AGAIN
        :: came_to == lost ->
#else
        :: came_to == lost && size == 1 ->
#endif
            for (i : start .. start + size - 1) { answer(member[i], unknown) }
        :: came_to == rejected && size == 1 -> answer(member[start], own_error)
#ifndef NO_HALVES
        :: came_to == rejected && size > 1 -> halve()
#else
        :: came_to == rejected && size > 1 ->
            for (i : start .. start + size - 1) { answer(member[i], own_error) }
#endif
#ifdef NO_NOT_AGAIN
        :: came_to == lost && size > 1 -> halve()
#endif
        fi;
        came_to = 0; start = 0; size = 0; i = 0 }
    /* the batch is done: the next one, or the end */
    :: atomic { task == at_work && open == 0 && came_to == 0 && !cut ->
        for (c : 0 .. CALLERS - 1) { in_batch[c] = false; member[c] = 0; parts[c] = 0; part_size[c] = 0 }
        members = 0; c = 0;
        if
        :: is_waiting -> task = scheduled
        :: else -> task = none
        fi }
    /* CancelledError: all of the batch without an answer are told */
    :: atomic { task == at_work && cut ->
#ifndef NO_CUT_OFF
        for (c : 0 .. CALLERS - 1) {
            if
            :: in_batch[c] -> answer(c, unknown)
            :: else
            fi
        }
#endif
        for (c : 0 .. CALLERS - 1) { in_batch[c] = false; member[c] = 0; parts[c] = 0; part_size[c] = 0 }
        members = 0; c = 0; open = 0; came_to = 0; start = 0; size = 0; cut = false;
        task = over }
    /* cancelled before its first step */
    :: atomic { task == scheduled && cut -> cut = false; task = over }
    /* the callback _ended, in the next turn of the loop */
    :: atomic { task == over ->
        if
#ifndef NO_RESTART
        :: is_waiting -> task = scheduled
#endif
        :: else -> task = none
        fi }
    od
}

/* Something outside cancels the writing task. */
proctype Outside() {
    do
    :: atomic { faults > 0 && (task == at_work || task == scheduled) && !cut ->
        faults--; cut = true }
    od
}

/* Batcher.close: waits for the task, for a limited time */
proctype Close() {
    byte c;
    atomic { closed = true }
    if
    :: task == none && !is_waiting
    :: atomic { task == at_work && faults > 0 ->
        /* too late: the statement hangs */
        faults--;
        for (c : 0 .. CALLERS - 1) {
            if
            :: waiting[c] ->
                waiting[c] = false;
#ifndef NO_CLOSE_ANSWERS
                answer(c, refused)
#else
                skip
#endif
            :: else
            fi
        }
        cut = true }
    fi
}

init {
    byte c;
    atomic {
        for (c : 0 .. CALLERS - 1) { run Caller(c) }
        run Task(); run Outside(); run Close()
    }
}

#define has_answer(c)  (future[c] != not_yet && future[c] != pending)
ltl answered { <> (has_answer(0) && has_answer(1) && has_answer(2) && has_answer(3)) }
