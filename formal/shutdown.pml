/*
 * The shutdown of a worker process: it stops claiming, lets handlers end, writes their ends, renews
 * leases until then, hands back what is left, gives up the lead, and ends within its bound.
 *
 * Job 0 runs when the shutdown begins; its handler is async.  Job 1 is available, and its handler
 * is a plain function in a thread, which nothing can interrupt.  A claim may be under way.  Either
 * handler may go on for ever.  The database may be slow, or stop answering for good.
 *
 * Left out: the hooks, the listener, the published row, the second cancel of an impatient caller,
 * and handlers that survive a cancel.  Times are left out too: a time-out may fire whenever what it
 * bounds is not over.  The time-out of the ends fires only while the database does not answer,
 * because it is longer than a statement takes.
 *
 * Guards:
 *  guard STOP_CLAIMS: no claim begins after the stop (awa_lib/runtime/dispatcher.py:_claim_all).
 *  guard LATE_ROWS: rows of a claim that is answered after the wait for claims are handed back
 *      (awa_lib/runtime/dispatcher.py:seal).
 *  guard SEARCH: the claim that was cut off is searched for and handed back
 *      (awa_lib/runtime/dispatcher.py:stop, claims.sql:hand_back_claim).
 *  guard INTERRUPT: async handlers are cancelled at the time-out and their jobs handed back
 *      (awa_lib/runtime/executor.py:drain, claims.sql:finish_attempts).
 *  guard EXIT: a process that exits hands back what still runs at the time-out
 *      (awa_lib/runtime/app.py:exiting, claims.sql:finish_attempts).
 *  guard DRAIN_BOUND: the wait for handlers has a bound (awa_lib/runtime/executor.py:drain).
 *  guard ENDS_FIRST: the completer stops only when all ends are written
 *      (awa_lib/runtime/ending.py:_write_ends, awa_lib/runtime/completer.py:drain).
 *  guard ENDS_BOUND: or when the bound is over (awa_lib/runtime/ending.py:_write_ends).
 *  guard BEATS_LAST: the heartbeat stops after the ends are written
 *      (awa_lib/runtime/ending.py:_write_ends).
 *  guard STEP_DOWN: the leader gives up its lock (awa_lib/runtime/leader.py:stop).
 */
//! check: assert unwatched - no handler begins after the wait for handlers is over
//! check: assert lost_end - no end is left unwritten while the database answers
//! check: assert silent - leases are renewed while a handler runs, or an end can be written
//! check: assert orphan - no job of the process is left running, except under a handler that nothing
//!        can interrupt and that goes on, or because the database did not answer
//! check: assert holds_lead - the lead is given up
//! check: ltl ends - the shutdown ends, whatever hangs
//! twin: NO_STOP_CLAIMS breaks assert orphan
//! twin: NO_LATE_ROWS breaks assert unwatched
//! twin: NO_SEARCH breaks assert orphan
//! twin: NO_INTERRUPT breaks assert orphan
//! twin: NO_EXIT breaks assert orphan
//! twin: NO_DRAIN_BOUND breaks ltl ends
//! twin: NO_ENDS_FIRST breaks assert lost_end
//! twin: NO_ENDS_BOUND breaks ltl ends
//! twin: NO_BEATS_LAST breaks assert silent
//! twin: NO_STEP_DOWN breaks assert holds_lead

#define JOBS 2

mtype = { available, running, completed };        /* a row */
mtype = { no_handler, runs, ended, hands_back, written };   /* an attempt */
mtype = { idle, sent, searching, closed };        /* the dispatcher */
mtype = { working, waits_for_claims, drains, last_steps, stopped };  /* Runtime.stop */

mtype row[JOBS] = available;
mtype attempt[JOBS] = no_handler;
mtype claims = idle;
mtype stop = working;
bool sealed;        /* rows that come now are handed back */
bool taken;         /* the claim under way has made job 1 running */
bool exiting;       /* the process ends after the shutdown */
bool leaves_any;    /* a handler runs on after the time-out, and its job with it */
bool away;          /* the database does not answer, from now on */
bool beats = true, writes = true, leads = true;
bool unwatched, lost_end, silent, orphan, holds_lead;

#define has_end(j)   (attempt[j] == ended || attempt[j] == hands_back)
#define runs_any     (attempt[0] == runs || attempt[1] == runs)

inline spawn(j) {
    unwatched = (stop == last_steps || stop == stopped);
    assert(!unwatched);
    attempt[j] = runs
}

/* claim, and what stop() does about it */
proctype Dispatcher() {
    do
#ifndef NO_STOP_CLAIMS
    :: atomic { claims == idle && stop == working && row[1] == available -> claims = sent }
#else
    :: atomic { claims == idle && stop != stopped && row[1] == available -> claims = sent }
#endif
    /* the server carries it out, late perhaps */
    :: atomic { claims == sent && !taken && !away && row[1] == available ->
        row[1] = running; taken = true }
    /* its answer arrives */
    :: atomic { claims == sent && taken && !away ->
#ifndef NO_LATE_ROWS
        if
        :: sealed -> claims = searching
        :: !sealed -> spawn(1); taken = false; claims = idle
        fi
#else
        spawn(1); taken = false; claims = idle
#endif
        }
    /* Duty.finish: the round is cut off */
    :: atomic { claims == sent && stop != working -> claims = searching }
#ifndef NO_STOP_CLAIMS
    :: atomic { claims == idle && stop != working -> claims = closed }
#else
    :: atomic { claims == idle && stop == stopped -> claims = closed }
#endif
    /* hand_back_claim, or its time-out */
    :: atomic { claims == searching && !away ->
#ifndef NO_SEARCH
        if
        :: taken -> row[1] = available; taken = false
        :: else
        fi;
#endif
        claims = closed }
    :: atomic { claims == searching && away -> claims = closed }
    od
}

/* A handler returns, or never does. */
proctype Handler(byte j) {
    do
    :: atomic { attempt[j] == runs -> attempt[j] = ended; break }
    :: atomic { attempt[j] == runs -> break }
    od
}

/* The completer: ends in a batch. */
proctype Completer() {
    byte j;
    do
    :: atomic { writes && !away && (has_end(0) || has_end(1)) ->
        for (j : 0 .. JOBS - 1) {
            if
            :: attempt[j] == ended -> attempt[j] = written; row[j] = completed
            :: attempt[j] == hands_back -> attempt[j] = written; row[j] = available
            :: else
            fi
        }
        j = 0 }
    od
}

/* The invariants of the heartbeat, looked at after each step. */
#define check_beats \
    silent = !beats && !leaves_any && (runs_any || (!away && (has_end(0) || has_end(1)))); \
    assert(!silent)

/* Runtime.stop */
proctype Stop() {
    atomic {
        stop = waits_for_claims;
        if :: exiting = true :: exiting = false fi }
    /* the claims under way, for a second */
    atomic {
        if
        :: claims == closed || claims == searching
        :: claims == sent
        fi;
        sealed = true; stop = drains }
    /* executor.drain */
    if
    :: atomic { !runs_any -> stop = last_steps }
#ifndef NO_DRAIN_BOUND
    :: atomic { runs_any ->
        /* the time-out */
#ifndef NO_INTERRUPT
        if
        :: attempt[0] == runs -> attempt[0] = hands_back
        :: else
        fi;
#endif
#ifndef NO_EXIT
        if
        :: exiting && attempt[1] == runs -> attempt[1] = hands_back
        :: else
        fi;
#endif
        leaves_any = runs_any; stop = last_steps }
#endif
    fi;
#ifdef NO_BEATS_LAST
    atomic { beats = false; check_beats }
#endif
    /* the last steps: the ends */
#ifndef NO_ENDS_FIRST
    if
    :: !has_end(0) && !has_end(1)
#ifndef NO_ENDS_BOUND
    :: away
#endif
    fi;
#endif
    atomic {
        writes = false;
        lost_end = !away && (has_end(0) || (has_end(1) && !leaves_any));
        assert(!lost_end);
        beats = false; check_beats }
    /* the others */
    if
    :: claims == closed
    :: away
#ifdef NO_STOP_CLAIMS
    :: true
#endif
    fi;
#ifndef NO_STEP_DOWN
    leads = false;
#endif
    atomic {
        holds_lead = leads;
        orphan = !away && (row[0] == running ||
                           (row[1] == running && (!leaves_any || exiting)));
        assert(!holds_lead);
        assert(!orphan);
        stop = stopped }
}

proctype Database() {
    if
    :: atomic { !away -> away = true }
    :: true
    fi
}

init {
    atomic {
        row[0] = running; attempt[0] = runs;
        run Dispatcher(); run Handler(0); run Handler(1); run Completer(); run Stop();
        run Database()
    }
}

ltl ends { <> (stop == stopped) }
