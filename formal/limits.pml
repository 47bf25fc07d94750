/*
 * Fleet-wide limits of a queue: at most MAX_RUNNING jobs run, and at most one of each key.
 *
 * There are always jobs of every class: urgent ones of key a, which fill the head of the queue, and
 * behind them jobs of key b, of key c, and without a key.  Two processes claim, one job at a time
 * or more.  A process may die with a running job.
 *
 * The coin of claim_limited that divides the room between keys and jobs without a key is modelled
 * as a turn: it falls on both sides again and again.  Left out: kinds, ids that are passed over,
 * rows that others lock (leases.pml), the start of the count (count_from: jobs that were resumed
 * from a wait may be missed for five seconds, see the migration), and slots of a process.
 *
 * Guards:
 *  guard POLICY_LOCK: claims of a limited queue wait for each other
 *      (0022_pass_dead_entries.sql:claim_limited, claims.sql:claim_limited).
 *  guard FRESH_COUNT: the running jobs are counted by a statement that begins under that lock
 *      (0022_pass_dead_entries.sql:claim_limited).
 *  guard ROOM: a claim takes what the limit leaves (0022_pass_dead_entries.sql:claim_limited).
 *  guard KEY_COUNT: and of a key what its limit leaves (0022_pass_dead_entries.sql:claim_limited).
 *  guard ROWS: the running rows are the count, so a dead process cannot keep a slot
 *      (0022_pass_dead_entries.sql:claim_limited, maintenance.sql:rescue).
 *  guard RESCUE: the jobs of a dead process are rescued (awa_lib/ops/maintenance.py:rescue).
 *  guard CURSOR: the walk over the keys goes on where the last one ended
 *      (0022_pass_dead_entries.sql:claim_limited).
 *  guard HALF: jobs without a key get half of the room behind the head at times
 *      (0022_pass_dead_entries.sql:claim_limited).
 *  guard SCAN: jobs without a key behind the head are looked for
 *      (0022_pass_dead_entries.sql:claim_limited).
 *  guard WHOLE: while claims begin at marks (firsts.pml), which both looks behind the head do not
 *      have, a claim from the start comes again and again
 *      (0022_pass_dead_entries.sql:claim_limited).
 */
//! check: assert too_many - never more than MAX_RUNNING jobs run
//! check: assert key_twice - never more than one job of a key runs
//! check: ltl urgent - jobs of key a run again and again
//! check: ltl second - jobs of key b run again and again
//! check: ltl third - jobs of key c run again and again
//! check: ltl keyless - jobs without a key run again and again
//! twin: NO_POLICY_LOCK breaks assert key_twice
//! twin: NO_FRESH_COUNT breaks assert too_many
//! twin: NO_ROOM breaks assert too_many
//! twin: NO_KEY_COUNT breaks assert key_twice
//! twin: NO_ROWS breaks ltl urgent
//! twin: NO_RESCUE breaks ltl urgent
//! twin: NO_CURSOR breaks ltl third
//! twin: NO_HALF breaks ltl second
//! twin: NO_SCAN breaks ltl keyless
//! twin: NO_WHOLE breaks ltl third

#define KEY_A 0
#define KEY_B 1
#define KEY_C 2
#define NO_KEY 3
#define CLASSES 4
#define MAX_RUNNING 2
#ifdef LARGER
#define DEATHS 3
#define CLAIMERS 3
#else
#define DEATHS 2
#define CLAIMERS 2
#endif

byte of_live[CLASSES];   /* running rows whose process lives */
byte of_dead[CLASSES];   /* and whose process is dead */
byte counter;            /* what a counter instead of the rows would hold */
bool policy_locked;
byte cursor = KEY_C;     /* the key of the last walk */
bool keys_turn;
bool marked;             /* the last claim began at marks */
byte deaths = DEATHS;
bool too_many, key_twice;

#define rows_of(c)  (of_live[c] + of_dead[c])
#define of_queue    (rows_of(KEY_A) + rows_of(KEY_B) + rows_of(KEY_C) + rows_of(NO_KEY))
#ifndef NO_KEY_COUNT
#define is_free(c)  (busy[c] == 0)
#else
#define is_free(c)  true
#endif

inline count() {
#ifndef NO_ROWS
    running = of_queue;
#else
    running = counter;
#endif
    for (c : 0 .. NO_KEY - 1) { busy[c] = rows_of(c) }
    c = 0
}

inline choose(c) {
    taken[c]++; room--;
    if
    :: c != NO_KEY -> busy[c]++
    :: else
    fi
}

proctype Claimer() {
    byte busy[CLASSES], taken[CLASSES], running, room, c, walked;
    bool whole;
    do
    :: true;
#ifdef NO_FRESH_COUNT
        atomic { count() }
#endif
#ifndef NO_POLICY_LOCK
        atomic { !policy_locked -> policy_locked = true }
#endif
#ifndef NO_FRESH_COUNT
        atomic { count() }
#endif
        atomic {
            /* at most two a claim */
            room = 2;
#ifndef NO_ROOM
            if
            :: running >= MAX_RUNNING -> room = 0
            :: room > MAX_RUNNING - running -> room = MAX_RUNNING - running
            :: else
            fi;
#endif
            /* the head of the queue */
            if
            :: room > 0 && is_free(KEY_A) -> choose(KEY_A)
            :: else
            fi;
            whole = false;
#ifndef NO_WHOLE
            if
            :: whole = true
            :: !marked
            fi;
#endif
            marked = !whole;
            /* jobs without a key behind it: all the room, or half */
#ifndef NO_SCAN
            walked = room;
            if
            :: room > 0 && whole ->
#ifndef NO_HALF
                if
                :: keys_turn -> walked = room / 2
                :: else
                fi;
#endif
                keys_turn = !keys_turn;
                do
                :: walked > 0 -> walked--; choose(NO_KEY)
                :: else -> break
                od
            :: else
            fi;
#endif
            /* the walk over the keys */
            c = KEY_C;
#ifndef NO_CURSOR
            c = cursor;
#endif
            walked = 0;
            do
            :: room > 0 && whole && walked < NO_KEY ->
                c = (c + 1) % NO_KEY; walked++;
                if
                :: is_free(c) -> choose(c); cursor = c
                :: else
                fi
            :: else -> break
            od }
        /* the UPDATE, and the commit */
        atomic {
            for (c : 0 .. CLASSES - 1) {
                of_live[c] = of_live[c] + taken[c]; counter = counter + taken[c];
                taken[c] = 0; busy[c] = 0
            }
            too_many = (of_queue > MAX_RUNNING);
            key_twice = (rows_of(KEY_A) > 1 || rows_of(KEY_B) > 1 || rows_of(KEY_C) > 1);
            assert(!too_many);
            assert(!key_twice);
            policy_locked = false; running = 0; room = 0; c = 0; walked = 0; whole = false }
    od
}

/* Jobs of a class end. */
proctype Handler(byte c) {
    do
    :: atomic { of_live[c] > 0 -> of_live[c]--; counter-- }
    od
}

/* A process dies with a running job of this class; the leader rescues the job. */
proctype Death(byte c) {
    do
    :: atomic { deaths > 0 && of_live[c] > 0 -> deaths--; of_live[c]--; of_dead[c]++ }
#ifndef NO_RESCUE
    :: atomic { of_dead[c] > 0 -> of_dead[c]-- }
#endif
    od
}

init {
    byte c;
    atomic {
        for (c : 1 .. CLAIMERS) { run Claimer() }
        for (c : 0 .. CLASSES - 1) { run Handler(c); run Death(c) }
    }
}

ltl urgent { [] <> (of_live[KEY_A] > 0) }
ltl second { [] <> (of_live[KEY_B] > 0) }
ltl third { [] <> (of_live[KEY_C] > 0) }
ltl keyless { [] <> (of_live[NO_KEY] > 0) }
