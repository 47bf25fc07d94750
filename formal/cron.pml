/*
 * One schedule and the leaders that fire it: two that both believe to lead (the old one was
 * stopped and continues), and a leader of awa 0.5, which knows neither pauses nor the
 * database's clock. Meanwhile operators pause, resume and remove the schedule, processes
 * declare it, and its expression changes.
 *
 * A moment is a number.  The expression 1 fires at every moment, the expression 2 only after
 * the end of the run.  While a leader of awa 0.5 whose clock is ahead has fired a moment to
 * come, the schedule is neither removed nor changed: then that moment would fire again.
 *
 * A round of a leader has three steps: it reads the row, its fire statement takes a snapshot,
 * and the statement locks the row, where PostgreSQL tests the conditions on the row as it is
 * now; what the snapshot did not have stays invisible.
 *
 * Left out: several schedules, time zones, jitter, rows that cannot be read, and rows that an
 * open transaction locks (they are left for the next round).
 *
 * Guards:
 *  guard CAS: the last fire is still the one that was read, by itself and as a part of the
 *      version (cron.sql:fire_schedules).
 *  guard VERSION: expression and updated_at are still as they were read
 *      (cron.sql:fire_schedules).
 *  guard TOUCH: a pause changes updated_at, because the settings that it inserts are not in the
 *      snapshot of a fire that waits for the row (cron.sql:pause_schedule).
 *  guard PAUSED: a schedule whose settings say paused is neither read nor fired
 *      (cron.sql:read_schedules, fire_schedules).
 *  guard REMOVED: no fire while the settings say removed, though a leader of awa 0.5 has
 *      written the row again (cron.sql:fire_schedules).
 *  guard RESUME_NOW: a resumed schedule begins now (cron.sql:resume_schedule).
 *  guard RESTART: a schedule whose expression changes begins now
 *      (awa.restart_changed_schedule).
 *  guard RETURN: a schedule that was removed and is declared again begins now
 *      (cron.sql:declare_schedules).
 *  guard DATABASE_CLOCK: due is what is due by the clock of the database
 *      (cron.sql:read_schedules, awa_lib/runtime/scheduler.py:_fires).
 *  guard KNOWN: what a leader has computed for a row is dropped when the row changes
 *      (awa_lib/runtime/scheduler.py:_due).
 */
//! check: assert twice - no moment fires two jobs
//! check: assert silenced - a schedule that is paused or removed does not fire
//! check: assert missed - moments while the schedule was paused, removed or had another expression
//!        do not fire later
//! check: assert early - no job before its moment
//! check: ltl fires - a due moment fires, or is not due any longer
//! twin: NO_CAS breaks assert twice
//! twin: NO_VERSION breaks assert silenced
//! twin: NO_TOUCH breaks assert silenced
//! twin: NO_PAUSED breaks assert silenced
//! twin: NO_REMOVED breaks assert silenced
//! twin: NO_RESUME_NOW breaks assert missed
//! twin: NO_RESTART breaks assert missed
//! twin: NO_RETURN breaks assert missed
//! twin: NO_DATABASE_CLOCK breaks assert early
//! twin: NO_KNOWN breaks ltl fires

#ifdef LARGER
#define CHANGES 3
#else
#define CHANGES 2
#endif
#define END 3
#define LOOK_BACK 1
#define PER_STATEMENT 2

/* The row of awa.cron_jobs; row tells whether a deleted row was written again. */
bool exists = true;
byte row = 1, expression, last, created = 1, updated;
/* The row of awa.cron_settings. */
bool settings, paused, removed;
byte limit = 1;             /* catch_up_limit; 1 also for coalesce */

byte now = 1;
byte since;                 /* moments up to this one are not to fire any longer */
byte fired[END + 2];        /* jobs, by moment */
bool twice, silenced, missed, early;
byte changes = CHANGES, old_rounds = 1, old_declarations = 1;

#define begin   (last -> last : created - LOOK_BACK)
#define overdue (exists && !paused && !removed && expression == 1 \
                 && ((last && last < now) || (!last && created - LOOK_BACK < now)))

/* What a fire compares under the lock. */
#ifndef NO_CAS
#define same_last (last == seen)
#else
#define same_last true
#endif
#ifndef NO_VERSION
#define same_version (expression == seen_expression && updated == seen_updated)
#else
#define same_version true
#endif
#ifndef NO_PAUSED
#define is_paused paused
#else
#define is_paused false
#endif
#ifndef NO_REMOVED
#define is_removed removed
#else
#define is_removed false
#endif
#ifndef NO_KNOWN
#define known_expression expression
#define note_expression  skip
#else
#define known_expression first
#define note_expression  if :: !first -> first = expression :: else fi
#endif
#define going (!is_paused && !is_removed)

#define is_ahead (last > now)

inline enqueue(moment) {
    fired[moment]++;
    twice = (fired[moment] > 1); assert(!twice)
}

proctype Leader(byte skew) {
    byte seen, seen_expression, seen_updated, clock, after, moment, newest, left;
    byte first;
    bool had_settings;
    do
    /* read_schedules, and the search for due moments */
    :: atomic { exists && !is_paused ->
        seen = last; seen_expression = expression; seen_updated = updated;
        after = begin;
#ifndef NO_DATABASE_CLOCK
        clock = now;
#else
        clock = now + skew;
#endif
        note_expression;
        if
        :: known_expression == 2 || expression == 2 || after >= clock -> goto over
        :: else
        fi;
        /* the latest, at most limit; of these the oldest for one statement */
        moment = (clock - after > limit -> clock - limit : after) + 1;
        newest = (clock - moment + 1 > PER_STATEMENT -> moment + PER_STATEMENT - 1 : clock) }
    /* fire_schedules: the snapshot */
    atomic { had_settings = settings; left = row; if :: !exists -> left = 0 :: else fi }
    /* fire_schedules: the row is locked and tested */
    atomic {
        if
        :: exists && left == row && same_last && same_version && (!had_settings || going) ->
            silenced = (paused || removed); assert(!silenced);
            early = (newest > now); assert(!early);
            missed = (moment <= since); assert(!missed);
            last = newest;
            do
            :: moment <= newest -> enqueue(moment); moment++
            :: else -> break
            od
        :: else
        fi }
over:
        atomic { seen = 0; seen_expression = 0; seen_updated = 0; clock = 0; after = 0;
                 moment = 0; newest = 0; left = 0; had_settings = false }
    od
}

/* A leader of awa 0.5 whose clock is ahead or right: it compares the last fire only.  What it fires
 * of a schedule that was removed and that it has written again is not looked at. */
proctype OldLeader() {
    byte seen, moment, left;
    do
    :: atomic { old_rounds > 0 && exists && !removed && expression == 1 ->
        old_rounds--; seen = last; left = row;
        if :: moment = now :: moment = now + 1 fi }
       atomic {
        if
        :: exists && row == left && moment > begin && same_last -> last = moment; enqueue(moment)
        :: else
        fi;
        seen = 0; moment = 0; left = 0 }
    /* it declares a schedule that was removed */
    :: atomic { old_declarations > 0 && removed && !exists ->
        old_declarations--;
        exists = true; row++; created = now; last = 0; updated++ }
    od
}

proctype Operator() {
    do
    :: atomic { changes > 0 && exists && !paused ->
        changes--;
#ifndef NO_TOUCH
        updated++;
#endif
        settings = true; paused = true }
    :: atomic { changes > 0 && exists && paused ->
        changes--; paused = false; since = now;
#ifndef NO_RESUME_NOW
        last = (last < now -> now : last)
#endif
        }
    :: atomic { changes > 0 && exists && !is_ahead ->
        changes--; exists = false; settings = true; removed = true; paused = false }
    od
}

/* declare_schedules of a process that starts, perhaps with another expression */
proctype Process() {
    do
    :: atomic { changes > 0 && (!exists || removed) ->
        changes--;
        if :: !exists -> exists = true; row++; created = now; last = 0 :: else fi;
        updated++;
        if
        :: removed ->
            removed = false; since = now;
#ifndef NO_RETURN
            last = (last < now -> now : last)
#endif
        :: else
        fi;
        settings = true }
    :: atomic { changes > 0 && exists && !is_ahead ->
        changes--; expression = 3 - expression; updated++; settings = true; since = now;
#ifndef NO_RESTART
        last = now
#endif
        }
    od
}

proctype Clock() {
    do
    :: atomic { now < END -> now++ }
    od
}

init {
    atomic {
        if :: expression = 1 :: expression = 2 fi;
        if :: settings = true :: settings = false fi;
        if :: limit = 1 :: limit = 3 fi;
        run Leader(0); run Leader(1); run OldLeader(); run Operator(); run Process(); run Clock()
    }
}

ltl fires { [] (overdue -> <> !overdue) }
