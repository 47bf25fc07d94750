/*
 * The change of the storage engine: where writers put new jobs, and who reads them.  This
 * release prepares a change and aborts it; a later release carries it out (it enters the mixed
 * transition and finishes it) by its own rules, which are taken from the protocol of awa and
 * were not run.
 *
 * A writer reads the active engine and writes to its tables in one transaction, which may stay
 * open for long (an enqueue in a transaction of the application).  Before the commit nobody
 * sees its job, also not the count of the backlog.
 *
 * Left out: the details of a preparation, its epoch, and the tables of the later engine.
 *
 * Guards:
 *  guard GATE: inserts read the active engine (jobs.sql:insert_jobs, insert_available, insert_one,
 *      insert_unique_jobs, reserve_ids; awa.insert_job_compat).
 *  guard SHARE: COPY locks the row of the transition until its transaction ends (FOR SHARE in
 *      jobs.sql:reserve_ids).
 *  guard DORMANT: a preparation changes nothing about where jobs are written
 *      (awa.active_storage_engine, awa.storage_prepare).
 *  guard ABORT_ROW: prepare and abort test the state under the row's lock (awa.storage_prepare,
 *      FOR UPDATE; awa.storage_abort).
 *  guard ENTER_REFUSED: this release does not enter the mixed transition, so that its abort,
 *      which looks for no jobs in the other engine, never has any there
 *      (awa.storage_enter_mixed_transition).
 *  guard DRAINED: the later release finishes only once no job is left in the old tables
 *      (awa.storage_finalize of that release).
 *  guard OLD_TRANSACTIONS: assumed, not in the code: a transaction that inserted by a statement
 *      has ended before the later release finishes the change, because these statements take no
 *      lock of the row of the transition (jobs.sql:insert_jobs, insert_available, insert_one,
 *      insert_unique_jobs).
 */
//! check: assert stranded - no job is in tables that nobody reads
//! check: assert dormant - in canonical and prepared new jobs go to the tables of awa 0.5
//! check: assert backwards - a change that is finished is not taken back
//! check: ltl read - a job in the tables of awa 0.5 is run
//! twin: NO_GATE breaks assert stranded
//! twin: NO_SHARE breaks assert stranded
//! twin: NO_DORMANT breaks assert dormant
//! twin: NO_ABORT_ROW breaks assert backwards
//! twin: NO_ENTER_REFUSED breaks assert stranded
//! twin: NO_DRAINED breaks ltl read
//! twin: NO_OLD_TRANSACTIONS breaks assert stranded

#ifdef LARGER
#define WRITERS 3
#else
#define WRITERS 2
#endif

mtype = { canonical, prepared, mixed, finished };
mtype = { begins, writes_old, writes_new, ended };
mtype = { by_statement, by_copy };

/* The row of awa.storage_transition_state. */
mtype state = canonical;
byte sharers;                /* transactions that have locked it FOR SHARE */
bool migrated;               /* the functions are those of the later release */

mtype does[WRITERS] = begins;
mtype way[WRITERS];
byte old_jobs, new_jobs;     /* committed, not yet run */
byte prepares = 2, aborts = 2;
bool stranded, dormant = true, backwards;

#ifndef NO_DORMANT
#define goes_to_new (state == mixed || state == finished)
#else
#define goes_to_new (state != canonical)
#endif
#ifndef NO_OLD_TRANSACTIONS
#define is_open(w)   (does[w] == writes_old && way[w] == by_statement)
#else
#define is_open(w)   false
#endif
#if WRITERS == 3
#define any_open     (is_open(0) || is_open(1) || is_open(2))
#else
#define any_open     (is_open(0) || is_open(1))
#endif
#ifndef NO_DRAINED
#define is_drained   (old_jobs == 0)
#else
#define is_drained   true
#endif

#define may_abort    (state == canonical || state == prepared || (state == mixed && !migrated))

/* Workers read the old tables until the change is finished, the new ones once it has begun. */
inline check() {
    stranded = ((old_jobs && state == finished)
                || (new_jobs && (state == canonical || state == prepared)));
    assert(!stranded)
}

proctype Writer(byte w) {
    do
    /* read the engine and write; another engine is written through insert_job_compat */
    :: atomic { does[w] == begins ->
        if :: way[w] = by_statement :: way[w] = by_copy fi;
        if
#ifndef NO_GATE
        :: goes_to_new -> does[w] = writes_new
        :: !goes_to_new -> does[w] = writes_old
#else
        :: does[w] = writes_old
#endif
        fi;
        dormant = !(does[w] == writes_new && (state == canonical || state == prepared));
        assert(dormant);
#ifndef NO_SHARE
        if :: does[w] == writes_old && way[w] == by_copy -> sharers++ :: else fi
#endif
        }
    /* commit, or roll back */
    :: atomic { does[w] == writes_old ->
#ifndef NO_SHARE
        if :: way[w] == by_copy -> sharers-- :: else fi;
#endif
        does[w] = ended;
        if :: old_jobs++ :: true fi;
        check() }
    :: atomic { does[w] == writes_new -> does[w] = ended; if :: new_jobs++ :: true fi; check() }
    od
}

proctype Operator() {
    mtype seen;
    do
    /* storage_prepare */
    :: atomic { prepares > 0 && sharers == 0 && (state == canonical || state == prepared) ->
        prepares--; state = prepared }
    /* storage_abort: this release's, and from the mixed transition only as long as it has it */
#ifndef NO_ABORT_ROW
    :: atomic { aborts > 0 && sharers == 0 && may_abort ->
        aborts--; state = canonical; check() }
#else
    :: atomic { aborts > 0 && (state == canonical || state == prepared) -> aborts--; seen = state };
       atomic { sharers == 0 ->
        backwards = (state == finished); assert(!backwards);
        state = canonical; seen = 0; check() }
#endif
    od
}

/* The later release: its migration, the mixed transition, the end. */
proctype Later() {
    do
    :: atomic { !migrated && state != mixed -> migrated = true }
#ifndef NO_ENTER_REFUSED
    :: atomic { migrated && state == prepared && sharers == 0 -> state = mixed }
#else
    :: atomic { state == prepared && sharers == 0 -> state = mixed }
#endif
    :: atomic { migrated && state == mixed && sharers == 0 && is_drained && !any_open ->
        state = finished; check() }
    od
}

proctype Workers() {
    do
    :: atomic { old_jobs && state != finished -> old_jobs-- }
    :: atomic { new_jobs && (state == mixed || state == finished) -> new_jobs-- }
    od
}

init {
    byte w;
    atomic {
        for (w : 0 .. WRITERS - 1) { run Writer(w) }
        run Operator(); run Later(); run Workers()
    }
}

ltl read { [] (old_jobs > 0 -> <> (old_jobs == 0)) }
