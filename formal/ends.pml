/*
 * The ends of attempts in one process, from the handler's return to the row: collected, written in
 * batches, kept until each is written or refused by its lease.
 *
 * Job 0 was rescued while attempt 0 ran, and claimed again by the same process as attempt 1, so it
 * has two ends.  The database rejects the values of the end of job 1.  The row of job 2 may be
 * locked by a stranger, and the job may be rescued.  The connection may be lost before or after the
 * commit of any statement.
 *
 * Left out: outcomes other than completion (their statement has the same guards; a written error is
 * known by its place behind the errors of the claim, also after another claim), follow-ups, the
 * pauses before a retry, and the bound of pending ends.
 *
 * Guards:
 *  guard ONE_PER_ID: a batch has one end per job, for its statement finds a job's lease by its
 *      place among the ids (awa_lib/runtime/completer.py:_next_batch, claims.sql:finish_completed).
 *  guard KEEP: ends without an answer are kept (awa_lib/runtime/completer.py:_settle).
 *  guard UNSURE: after a lost answer a refused end asks what its row holds
 *      (awa_lib/runtime/completer.py:_written_before, claims.sql:written_ends).
 *  guard STATE: and the row must hold what this end made of it (awa_lib/runtime/ends.py:is_written).
 *  guard BUSY: ends of locked rows are told apart from refused ends, and kept
 *      (awa_lib/ops/claims.py:hold, claims.sql:hold_attempts).
 *  guard ALONE: the ends of a batch that fails because of a value are written one by one
 *      (awa_lib/runtime/completer.py:_write_part).
 *  guard REDUCE: the rejected values are left out (awa_lib/runtime/ends.py:reduce).
 *  guard LEASE: an end is written only under the lease of the row (claims.sql:finish_completed).
 */
//! check: assert lost_end - no end that owns its job is dropped before it is written
//! check: assert stale_end - no end of an attempt that lost its job is written
//! check: assert false_refusal - an end that was written is not reported as refused
//! check: assert false_success - an end that was not written is not reported as written
//! check: ltl all_settled - each end is written or refused in the end
//! twin: NO_ONE_PER_ID breaks assert lost_end
//! twin: NO_KEEP breaks assert lost_end
//! twin: NO_BUSY breaks assert lost_end
//! twin: NO_LEASE breaks assert stale_end
//! twin: NO_UNSURE breaks assert false_refusal
//! twin: NO_STATE breaks assert false_success
//! twin: NO_ALONE breaks ltl all_settled
//! twin: NO_REDUCE breaks ltl all_settled

#ifdef LARGER
#define LOSSES 4
#define LOCKS 2
#else
#define LOSSES 2
#define LOCKS 1
#endif
#define JOBS 3
#define ENDS 4

mtype = { running, completed, retryable };        /* states of a row */
mtype = { at_handler, kept, writing, settled };   /* where an end is */
mtype = { written, stale, busy };                 /* what a statement answers about an end */

mtype state[JOBS] = running;
byte lease[JOBS];          /* of the row; the lease of end e is e + 1 */
bool locked[JOBS];

mtype at[ENDS] = at_handler;
byte job[ENDS];
bool alone[ENDS], unsure[ENDS];
bool rejected[ENDS];       /* the database rejects a value of this end */
bool wrote[ENDS];          /* this end is in the row */
mtype answer[ENDS];

byte losses = LOSSES, locks = LOCKS;
bool lost_end, stale_end, false_refusal, false_success;
byte e, other;

#define owns(e)  (state[job[e]] == running && lease[job[e]] == e + 1)
#ifndef NO_LEASE
#define matches(e)  owns(e)
#else
#define matches(e)  (state[job[e]] == running)
#endif
#ifndef NO_STATE
#define holds(e)  (state[job[e]] == completed && lease[job[e]] == e + 1)
#else
#define holds(e)  (state[job[e]] != running && lease[job[e]] == e + 1)
#endif
#define is_kept  (at[0] == kept || at[1] == kept || at[2] == kept || at[3] == kept)
#define in_part(e)  (at[e] == writing && !alone[e])
#define is_rejected ((in_part(0) && rejected[0]) || (in_part(1) && rejected[1]) || \
                     (in_part(2) && rejected[2]) || (in_part(3) && rejected[3]))
#define has_part  (in_part(0) || in_part(1) || in_part(2) || in_part(3))

/* The statement's part for one row. */
inline change(e) {
    if
    :: locked[job[e]] -> answer[e] = busy
    :: !locked[job[e]] && matches(e) ->
        stale_end = !owns(e);
        assert(!stale_end);
        state[job[e]] = completed; wrote[e] = true; answer[e] = written
    :: else -> answer[e] = stale
    fi
}

/* _mark, for one end that has an answer */
inline mark(e) {
#ifndef NO_BUSY
    if
    :: answer[e] == busy
    :: answer[e] == written -> at[e] = settled
    :: answer[e] == stale ->
#else
    if
    :: answer[e] == written -> at[e] = settled
    :: answer[e] == stale || answer[e] == busy ->
#endif
        at[e] = settled;
        if
#ifndef NO_UNSURE
        :: unsure[e] && holds(e) -> false_success = !wrote[e]
        :: else -> false_refusal = wrote[e]
#else
        :: true -> false_refusal = wrote[e]
#endif
        fi
    fi;
    drop(e);
    assert(!false_success);
    assert(!false_refusal);
    answer[e] = 0
}

inline drop(e) {
    if
    :: at[e] == settled -> lost_end = owns(e) && !wrote[e]; alone[e] = false; unsure[e] = false
    :: else
    fi;
    assert(!lost_end)
}

/* The row of every end of the part is changed, in one commit. */
inline change_part() {
    for (e : 0 .. ENDS - 1) {
        if
        :: in_part(e) && e < 2 && in_part(1 - e) ->
            /* two ends of a job: the lease at the last place of the id counts, for both */
            if
            :: e == 0 -> if :: other = 0 :: other = 1 fi; change(other); answer[1 - other] = answer[other]
            :: else
            fi
        :: in_part(e) && !(e < 2 && in_part(1 - e)) -> change(e)
        :: else
        fi
    }
}

proctype Completer() {
    do
    :: atomic { is_kept ->
        /* _next_batch */
        for (e : 0 .. ENDS - 1) {
            if
            :: at[e] == kept -> at[e] = writing
            :: else
            fi
        }
#ifndef NO_ONE_PER_ID
        if
        :: at[0] == writing && at[1] == writing -> if :: at[0] = kept :: at[1] = kept fi
        :: else
        fi
#endif
        e = 0 }
        /* _write_part: a statement for all of the batch that are not alone */
        atomic {
        if
        :: !has_part
        :: has_part && is_rejected ->
#ifndef NO_ALONE
            for (e : 0 .. ENDS - 1) {
                if
                :: in_part(e) -> alone[e] = true
                :: else
                fi
            }
#endif
            skip
        :: has_part && losses > 0 ->
            losses--;
            if
            :: !is_rejected -> change_part()
            :: true
            fi;
            for (e : 0 .. ENDS - 1) {
                if
                :: in_part(e) -> unsure[e] = true; answer[e] = 0;
#ifdef NO_KEEP
                    at[e] = settled; drop(e)
#endif
                :: else
                fi
            }
            goto settle
        :: has_part && !is_rejected ->
            change_part();
            for (e : 0 .. ENDS - 1) {
                if
                :: in_part(e) -> mark(e)
                :: else
                fi
            }
        fi;
        e = 0; other = 0 }
        /* _write_one: the others, each by itself */
        do
        :: atomic { e < ENDS && !(at[e] == writing && alone[e]) -> e++ }
        :: atomic { e < ENDS && at[e] == writing && alone[e] ->
            if
            :: rejected[e] ->
#ifndef NO_REDUCE
                rejected[e] = false
#else
                skip
#endif
            :: losses > 0 ->
                losses--; unsure[e] = true;
                if
                :: !rejected[e] -> change(e); answer[e] = 0
                :: true
                fi;
                goto settle
            :: !rejected[e] -> change(e); mark(e)
            fi;
            e++ }
        :: e >= ENDS -> break
        od;
settle:
        atomic {
        for (e : 0 .. ENDS - 1) {
            if
            :: at[e] == writing -> at[e] = kept
            :: else
            fi
        }
        e = 0; other = 0 }
    od
}

/* The handlers return, in any order; attempt 0 and 1 of job 0 too. */
proctype Handler(byte number) {
    atomic { at[number] = kept }
}

proctype Stranger() {
    do
    :: atomic { locks > 0 && !locked[2] -> locks--; locked[2] = true }
    :: atomic { locked[2] -> locked[2] = false }
    od
}

/* The leader takes job 2 from its attempt. */
proctype Rescue() {
    atomic { !locked[2] && state[2] == running -> state[2] = retryable }
}

init {
    atomic {
        job[1] = 0; job[2] = 1; job[3] = 2;
        lease[0] = 2; lease[1] = 3; lease[2] = 4;
        rejected[2] = true;
        for (e : 0 .. ENDS - 1) { run Handler(e) }
        e = 0;
        run Completer(); run Stranger(); run Rescue()
    }
}

ltl all_settled { <> (at[0] == settled && at[1] == settled && at[2] == settled && at[3] == settled) }
