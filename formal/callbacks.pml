/*
 * The callbacks of one job: its handler registers callbacks and waits for their answers; an
 * outside system answers, completes, fails or restarts the job by the id of a callback; workers
 * die, stop and fall silent; operators cancel and retry; the leader times out waits and rescues
 * attempts.
 *
 * The row has the columns that these statements test: state, lease, callback, and in the
 * metadata the journal of callbacks with their answers, the answer that was not taken (pending)
 * and _awa_reenter.  An attempt that ends by itself, a time-out and a retry begin a new life:
 * the journal is deleted and the next callbacks have new ids.  The payload of an answer is the
 * id it was sent to, so that an answer given to the wrong wait is seen.
 *
 * A handler may wait for a callback that it has replaced.  Answers may come from awa 0.5, which
 * writes them outside the journal; one case is left out, because such an answer is lost with
 * its worker: an attempt registers a callback again although a later one was answered.
 *
 * Left out: several jobs, time (every time-out may come at once), CEL expressions (they choose
 * among complete, fail and nothing), signatures, unique keys, and progress.  Notifications are
 * left out because a look at the rows follows within a second anyway.
 *
 * Guards:
 *  guard LEASE: what a worker does to its attempt matches the lease
 *      (callbacks.sql:register_callback, enter_wait, leave_wait, abandon_wait, take_answer,
 *      cancel_callback).
 *  guard RUNS: and a job that runs, or waits
 *      (callbacks.sql:register_callback, enter_wait, leave_wait, abandon_wait, take_answer).
 *  guard WAITS_FOR: a wait is entered and left for the callback of the row
 *      (callbacks.sql:enter_wait, leave_wait).
 *  guard ID: an answer matches the id of the open callback (callbacks.sql:resume_external).
 *  guard OPEN: an answer matches only a job that has not ended
 *      (callbacks.sql:complete_external, fail_external, resume_external).
 *  guard RETRY_FORGETS: a retry withdraws the callback and the journal (jobs.sql:retry_jobs,
 *      callbacks.sql:retry_external).
 *  guard JOURNAL_KEPT: a dead worker's journal is kept for the next attempt
 *      (maintenance.sql:rescue).
 *  guard ANSWERED_STAYS: a callback that is registered again stays answered
 *      (callbacks.sql:register_callback).
 *  guard OTHERS: an answer outside the journal is not taken for another callback than its own
 *      (callbacks.sql:take_answer).
 *  guard LAST_OPEN: unanswered callbacks behind the one that is registered leave the journal,
 *      so that an answer outside it belongs to its last entry
 *      (callbacks.sql:register_callback).
 *  guard JOURNALED: an answer is journaled when it is taken, so that its callback is not opened
 *      again by the attempt that replaces a dead one (callbacks.sql:take_answer).
 *  guard JOURNAL_READ: an answer is looked for in the journal first, so that it can be taken
 *      again after a lost reply (callbacks.sql:take_answer).
 *  guard REENTER: an answer to a job without a waiting process makes the job available
 *      (callbacks.sql:abandon_wait, resume_external; claims.sql:finish_attempts).
 *  guard WAITING: a time-out is tested again under the row's lock (maintenance.sql:rescue).
 *  guard TIMEOUT: waits time out (awa_lib/runtime/rescues.py:callback).
 *  guard RESCUE: attempts without a worker are rescued (awa_lib/runtime/rescues.py:stale).
 *  guard LEAVE_ANSWERED: a handler that leaves its wait has a deadline again, also when its
 *      answer has just come (callbacks.sql:leave_wait).
 */
//! check: assert own - a wait returns the answer that was sent to its own callback
//! check: assert once - a callback that was answered is neither open nor answered again
//! check: assert current - an answer changes only the life whose callback it was sent to
//! check: assert twice - an ended job does not end again
//! check: assert mine - a worker changes only the attempt that it has claimed
//! check: assert kept - an accepted answer is there for the attempt that replaces a dead one
//! check: assert reply - an answer whose reply was lost can be taken again
//! check: assert crash - an answer to a job that a stopped process left is not counted as a crash
//! check: assert early - a time-out ends only a wait
//! check: assert ended - a worker changes no job that has ended
//! check: assert replaced - a job waits for the callback that its handler waits for
//! check: ltl ends - the job ends
//! twin: NO_LEASE breaks assert mine
//! twin: NO_RUNS breaks assert ended
//! twin: NO_WAITS_FOR breaks assert replaced
//! twin: NO_ID breaks assert current
//! twin: NO_OPEN breaks assert twice
//! twin: NO_RETRY_FORGETS breaks assert current
//! twin: NO_JOURNAL_KEPT breaks assert kept
//! twin: NO_ANSWERED_STAYS breaks assert once
//! twin: NO_OTHERS breaks assert own
//! twin: NO_LAST_OPEN breaks assert own
//! twin: NO_JOURNALED breaks assert once
//! twin: NO_JOURNAL_READ breaks assert reply
//! twin: NO_REENTER breaks assert crash
//! twin: NO_WAITING breaks assert early
//! twin: NO_TIMEOUT breaks ltl ends
//! twin: NO_RESCUE breaks ltl ends
//! twin: NO_LEAVE_ANSWERED breaks ltl ends

#ifdef LARGER
#define MORE 1
#else
#define MORE 0
#endif
#define MAX_ATTEMPTS 2
#define PLACES 2

mtype = { available, running, waiting, retryable, completed, failed, cancelled };
mtype = { idle, begun, registers, enters, waits, takes, hangs, finishes };

/* The row. */
mtype state = available;
byte lease, attempt, crashes;
byte callback;               /* callback_id; 0 is NULL */
byte life = 1;
byte made;                   /* entries of the journal */
byte answer[PLACES];         /* their answers; 0 is none */
byte pending;                /* _awa_callback_result */
bool reenter, deadline;

int accepted;                /* callbacks whose answer was accepted, as bits */
bool own = true, once = true, current = true, twice, mine = true, kept = true, reply = true;
bool crash, early, ended = true, replaced = true;
#ifndef NO_RUNS
#define runs  (state == running)
#define waits_or_runs (state == running || state == waiting)
#else
#define runs  true
#define waits_or_runs true
#endif
#ifndef NO_WAITS_FOR
#define is_for(id) (callback == id)
#else
#define is_for(id) true
#endif
byte owed;                   /* an accepted answer that no handler has got yet */
byte left_by;                /* the lease of a wait that a stopped process has left in the row */
byte has[2];                 /* the lease of the attempt that a worker runs */

byte letters;                /* answers that are still sent */
byte events;                 /* deaths, stops, lost replies, own time-outs, cancels, retries */

#define id_of(l, place) ((l) * PLACES + place)
#define last            (made - 1)
#define over            (state == completed || state == failed || state == cancelled)
#define open            (state == waiting || state == running || state == available)
#define is_run          (has[0] == lease || has[1] == lease)
#define is_journaled(x) (answer[0] == x || answer[1] == x)

#ifndef NO_OTHERS
#define belongs_elsewhere (made && (answer[last] -> answer[1 - tok] == pending : tok != last))
#else
#define belongs_elsewhere false
#endif
#define waits_for_replaced (does == begun && used == 2 && !known[0])
#ifndef NO_LEASE
#define owns(w) (lease == has[w])
#else
#define owns(w) (lease != 0)
#endif

inline forget() {
    life++; made = 0; answer[0] = 0; answer[1] = 0; pending = 0; reenter = false; owed = 0
}
inline end(as) {
    twice = over; assert(!twice);
    state = as; owed = 0
}
inline touch(w) {
    mine = (lease == has[w]); assert(mine);
    ended = !over; assert(ended)
}
/* The handler gets an answer. */
inline learn(id, what) {
    own = (what == id); assert(own);
    if :: owed == what -> owed = 0 :: else fi
}

inline quit() {
    does = idle; has[w] = 0;
    born = 0; used = 0; tok = 0; known[0] = 0; known[1] = 0; again = false
}

proctype Worker(byte w) {
    mtype does = idle;
    byte born, used, tok, known[PLACES], found, journaled, late;
    bool again;
    do
    /* claim; the handler reads the journal: an answer outside it belongs to the last entry */
    :: atomic { does == idle && state == available && (w == 0 || has[0]) ->
        lease++; has[w] = lease; attempt++;
        state = running; deadline = true;
        born = life;
        known[0] = answer[0]; known[1] = answer[1];
        if
        :: pending && made && !answer[last] -> known[last] = pending
        :: else
        fi;
        kept = (!owed || pending == owed || is_journaled(owed)); assert(kept);
        does = begun }
    /* register_callback; what is in the handler's journal is not asked for */
    :: atomic { does == begun && used < PLACES && known[used] ->
        learn(id_of(born, used), known[used]); used++ }
    :: atomic { (does == begun && used < PLACES && !known[used]) || does == registers ->
        tok = used;
        if
        :: owns(w) && runs ->
            touch(w);
            if
            :: !callback && pending && made && !answer[last] -> answer[last] = pending
            :: else
            fi;
            if :: tok == made -> made++ :: else fi;
            reenter = false;
            if
#ifndef NO_ANSWERED_STAYS
            :: answer[tok]
#endif
            :: else ->
                callback = id_of(born, tok); pending = 0;
#ifndef NO_LAST_OPEN
                if :: tok < last && !answer[last] -> made = tok + 1 :: else fi;
#endif
                once = !((accepted >> callback) & 1); assert(once)
            fi;
            if
            :: used++; does = begun
            :: events > 0 -> events--; does = registers
            fi
        :: else -> quit()
        fi }
    /* enter_wait; if it matches no row, the answer may be there already */
    :: atomic { ((does == begun && used > 0 && !known[used - 1])
                 || does == enters || waits_for_replaced) ->
        if
        :: does == begun && !known[used - 1] -> tok = used - 1
        :: waits_for_replaced -> tok = 0
        :: does == enters
        fi;
        if
        :: owns(w) && waits_or_runs && is_for(id_of(born, tok)) ->
            touch(w);
            replaced = (callback == id_of(born, tok)); assert(replaced);
            state = waiting; deadline = false;
            if
            :: does = waits
            :: events > 0 -> events--; does = enters
            fi
        :: else -> does = takes
        fi }
    :: atomic { does == begun -> does = hangs }
    /* take_answer */
    :: atomic { does == takes ->
        if
        :: owns(w) && runs && callback != id_of(born, tok) ->
#ifndef NO_JOURNAL_READ
            journaled = answer[tok];
#endif
            if :: !callback && !belongs_elsewhere -> late = pending :: else fi;
            found = (journaled -> journaled : late);
            if
            :: found ->
                touch(w);
                deadline = true;
                if :: !journaled || journaled == pending -> pending = 0 :: else fi;
#ifndef NO_JOURNALED
                answer[tok] = found
#endif
            :: else
            fi
        :: else
        fi;
        if
        :: found && events > 0 -> events--; again = true
        :: found -> learn(id_of(born, tok), found); known[tok] = found; again = false; does = begun
        :: !found ->
            reply = !(again && owns(w) && state == running); assert(reply);
            if :: owns(w) && state == running -> does = finishes :: else -> quit() fi
        fi;
        found = 0; journaled = 0; late = 0 }
    /* look_at_waits */
    :: atomic { does == waits && !(owns(w) && state == waiting && callback == id_of(born, tok)) ->
        if
        :: !owns(w) || (state != running && state != waiting) -> quit()
        :: else -> does = takes
        fi }
    /* the handler's own time-out: leave_wait */
    :: atomic { does == waits && events > 0 -> events--;
        if
        :: owns(w) && state == waiting && callback == id_of(born, tok) ->
            touch(w); state = running; deadline = true
#ifndef NO_LEAVE_ANSWERED
        :: owns(w) && state == running -> touch(w); deadline = true
#endif
        :: else
        fi;
        does = begun }
    /* the process stops, or the wait has kept its slot for long: abandon_wait, or the attempt is
     * handed back */
    :: atomic { events > 0 && (does == waits || does == begun) -> events--;
        if
        :: owns(w) && state == waiting -> touch(w);
            left_by = lease;
#ifndef NO_REENTER
            reenter = true
#endif
        :: owns(w) && state == running -> touch(w); state = available; attempt--; deadline = false
        :: else
        fi;
        quit() }
    /* a handler that hangs ends at its deadline */
    :: atomic { does == hangs && owns(w) && state == running && deadline -> does = finishes }
    :: atomic { does == hangs && !(owns(w) && state == running) -> quit() }
    /* finish_completed, finish_attempts */
    :: atomic { does == begun || does == finishes ->
        if
        :: owns(w) && state == running -> touch(w);
            deadline = false;
            if
            :: end(completed)
            :: attempt >= MAX_ATTEMPTS -> end(failed)
            :: attempt < MAX_ATTEMPTS -> state = retryable; forget()
            /* returned WaitForCallback */
            :: callback -> state = waiting; left_by = lease;
#ifndef NO_REENTER
                reenter = true
#endif
            :: !callback && pending -> end(completed)
            fi
        :: else
        fi;
        quit() }
    :: atomic { events > 0 && does != idle -> events--; quit() }
    od
}

#ifndef NO_ID
#define same_id(to) (callback == to)
#else
#define same_id(to) (callback != 0)
#endif
#ifndef NO_OPEN
#define answers(to) (same_id(to) && open)
#else
#define answers(to) (same_id(to) && state != retryable)
#endif

/* Sends answers to callbacks that it has heard of, now or later. */
proctype Outside() {
    byte to;
    do
    :: atomic { letters > 0 && !to && callback -> letters--; to = callback }
    :: atomic { to ->
        if
        :: answers(to) ->
            current = (to / PLACES == life); assert(current);
            once = !((accepted >> to) & 1); assert(once);
            accepted = accepted | (1 << to);
            if
            /* resume_external */
            :: state != completed && state != failed ->
                callback = 0; pending = to;
                if
                :: made -> answer[to % PLACES] = to
                :: else
                fi;
                owed = to;
                if
                :: state == available
                :: state == waiting && reenter -> state = available; attempt--
                :: else -> state = running
                fi;
                reenter = false
            /* resume_external of awa 0.5: not journaled, and the job runs without a worker if none
             * waits */
            :: (state == waiting || state == running) && !(to % PLACES < last && answer[last]) ->
                callback = 0; pending = to; owed = to; left_by = 0; state = running
            /* complete_external, fail_external */
            :: end(completed); callback = 0
            :: end(failed); callback = 0
            /* retry_external */
            :: state == waiting ->
                state = available; attempt = 0; crashes = 0; callback = 0; forget()
            fi
        :: else
        fi;
        to = 0 }
    od
}

proctype Operator() {
    do
    :: atomic { events > 0 && !over -> events--; end(cancelled); callback = 0 }
    :: atomic { events > 0 && (state == failed || state == cancelled || state == waiting) ->
        events--; state = available; attempt = 0; crashes = 0;
#ifndef NO_RETRY_FORGETS
        callback = 0;
#endif
        forget() }
    od
}

#ifndef NO_WAITING
#define expires (state == waiting)
#else
#define expires (state == waiting || (state == running && callback))
#endif

proctype Leader() {
    do
#ifndef NO_TIMEOUT
    :: atomic { expires ->
        early = (state != waiting); assert(!early);
        callback = 0;
        if
        :: attempt >= MAX_ATTEMPTS -> end(failed)
        :: else -> state = retryable; forget()
        fi }
#endif
#ifndef NO_RESCUE
    /* a stale heartbeat: of a worker that is gone, or that is silent for now */
    :: atomic { state == running && (!is_run || events > 0) ->
        crash = (lease == left_by && !is_run); assert(!crash);
        if :: is_run -> events-- :: else fi;
        callback = 0; deadline = false; crashes++;
        if
        :: crashes >= MAX_ATTEMPTS -> end(failed)
        :: else -> state = retryable; attempt--;
#ifndef NO_JOURNAL_KEPT
            skip
#else
            made = 0; answer[0] = 0; answer[1] = 0; pending = 0
#endif
        fi }
#endif
    /* promotion: callbacks do not come along */
    :: atomic { state == retryable -> state = available; callback = 0 }
    od
}

init {
    atomic {
        if :: letters = 2; events = MORE :: letters = 1; events = 1 + MORE fi;
        run Worker(0); run Worker(1); run Outside(); run Operator(); run Leader()
    }
}

ltl ends { <> over }
