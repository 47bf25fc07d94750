/*
 * The attempts of one job: claim, heartbeat, end, rescue, retry, by a fleet of workers of which
 * some are killed, some are stopped or cut off from the database and come back, while a stranger
 * locks the row, and the server crashes and forgets the claims that it has not flushed.
 *
 * Left out: several jobs (all rows of a claim share its lease, and no statement looks at two rows
 * together), deadlines and callbacks, priorities and kinds, batches of ends (ends.pml), and which
 * table a row is in.  A worker has one slot.
 * Time is left out too.  Two facts about it are assumed, and they are checked at start
 * (awa_lib/validation.py): a living worker that can write to the row renews its lease before the
 * lease is stale by what its process declares, and within every grace.  The rows of a lost claim
 * are found before their lease is stale (awa_lib/runtime/dispatcher.py:_search_for); one that
 * appears later is rescued, which counts a crash and does no other harm.
 *
 * Guards:
 *  guard RANDOM_LEASE: each claim has a lease that no other claim ever has
 *      (awa_lib/ops/leases.py:new_lease, awa_lib/ops/leases.py:Leases, claims.sql:claim_kind).
 *  guard LEASE: an end and a heartbeat match the lease
 *      (claims.sql:finish_completed, claims.sql:finish_attempts, claims.sql:heartbeat).
 *  guard RUNNING: an end matches the state running (claims.sql:finish_completed).
 *  guard CLAIM_TEST: what a claim has looked at is tested again under the row's lock
 *      (claims.sql:claim_kinds).
 *  guard RESCUE_TEST: a rescue tests again under the row's lock that the lease is stale
 *      (maintenance.sql:rescue).
 *  guard DECLARED: a lease is judged by the staleness that its own process declares
 *      (maintenance.sql:stale_ids, maintenance.sql:rescue).
 *  guard HAND_BACK_LEASE: only rows with the lease of the lost claim are handed back
 *      (claims.sql:hand_back_claim).
 *  guard HAND_BACK: a claim without an answer is searched for and handed back
 *      (awa_lib/runtime/dispatcher.py:_hand_back).
 *  guard OUTAGE_GRACE: after an outage no rescue until living workers had time to renew
 *      (awa_lib/runtime/rescues.py:Contact).
 *  guard LOCK_GRACE: after a lock of the row no rescue until its worker had time to renew
 *      (awa_lib/runtime/rescues.py:_note_freed).
 *  guard LAST_ATTEMPT: a failure of the last attempt is final
 *      (awa_lib/runtime/outcomes.py:of_failure).
 *  guard RESCUE: stale leases are rescued (awa_lib/runtime/rescues.py:Rescues).
 *  guard PROMOTE: due jobs become available (maintenance.sql:promote).
 */
//! check: assert stale_end - an end is accepted only from the claim that owns the row
//! check: assert twice - no claim succeeds while another worker runs the job, unless that worker was
//!        silent for too long or the server forgot its claim
//! check: assert robbed - only the job of a worker that was silent for too long is rescued
//! check: assert attempt - no job is claimed more often than max_attempts
//! check: ltl ends - the job is completed or failed in the end
//! twin: NO_RANDOM_LEASE breaks assert stale_end
//! twin: NO_LEASE breaks assert stale_end
//! twin: NO_RUNNING breaks assert stale_end
//! twin: NO_CLAIM_TEST breaks assert twice
//! twin: NO_RESCUE_TEST breaks assert robbed
//! twin: NO_DECLARED breaks assert robbed
//! twin: NO_HAND_BACK_LEASE breaks assert twice
//! twin: NO_HAND_BACK breaks assert robbed
//! twin: NO_OUTAGE_GRACE breaks assert robbed
//! twin: NO_LOCK_GRACE breaks assert robbed
//! twin: NO_LAST_ATTEMPT breaks assert attempt
//! twin: NO_RESCUE breaks ltl ends
//! twin: NO_PROMOTE breaks ltl ends

#ifdef LARGER
#define WORKERS 3
#define FAULTS 3
#else
#define WORKERS 2
#define FAULTS 2
#endif
#define MAX_ATTEMPTS 2

mtype = { available, running, retryable, completed, failed };  /* states of the row */
mtype = { idle, looked, runs, ended };                         /* what a worker does */
mtype = { alive, silent, dead };                               /* silent: stopped, or cut off */

/* The row, and what the server has flushed of it.  claim and by tell who owns it: the number of
 * the claim, and its worker.  abandoned: its lease went stale while that worker was not alive. */
typedef Row {
    mtype state = available;
    byte lease, attempt, crashes;
    bool fresh, abandoned;
    byte claim, by
}
Row row, flushed;
bool locked;        /* by a stranger */
bool touched;       /* locked since the last change of the row: its xmax says so */
bool down;          /* the server does not answer */
bool steady = true; /* the leader: no outage within the last grace */
bool found;         /* the leader: it has found the job stale */

mtype up[WORKERS + 1] = alive; /* the last one is nobody */
mtype does[WORKERS] = idle;
byte mine[WORKERS + 1];        /* the claim that a worker's attempt has */
byte lost[WORKERS + 1];        /* the lease of a claim without an answer */
byte on_its_way[WORKERS];  /* the number of a claim that the server may still carry out */
byte late_lease[WORKERS];  /* and its lease */
bool excused[WORKERS + 1];     /* the attempt's job may be given to others */
byte claims;               /* claims made so far */
bool stale_end, twice, robbed;

byte faults = FAULTS; /* of any kind, in any order */
byte living = WORKERS;

#define can_ask(w)  (up[w] == alive && !down)
#define runs_it(w)  ((does[w] == runs || does[w] == ended) && mine[w] == row.claim)
#define renews(w)   (can_ask(w) && !locked && (runs_it(w) || (lost[w] && lost[w] == row.lease)))
#if WORKERS == 3
#define is_renewed  (renews(0) || renews(1) || renews(2))
#define runs_beside(w) ((w != 0 && runs_now(0)) || (w != 1 && runs_now(1)) || (w != 2 && runs_now(2)))
#else
#define is_renewed  (renews(0) || renews(1))
#define runs_beside(w) ((w != 0 && runs_now(0)) || (w != 1 && runs_now(1)))
#endif
#define runs_now(w) ((does[w] == runs || does[w] == ended) && !excused[w])
#define was_silent  (up[row.by] != alive)
#define is_stale    (row.state == running && !row.fresh)

#ifndef NO_LEASE
#define same_lease(l) (row.lease == l)
#else
#define same_lease(l) true
#endif
#ifndef NO_RUNNING
#define owned(l) (row.state == running && same_lease(l))
#else
#define owned(l) same_lease(l)
#endif
#ifndef NO_CLAIM_TEST
#define claimable (row.state == available && !locked)
#else
#define claimable ((row.state == available || row.state == running) && !locked)
#endif
#ifndef NO_RESCUE_TEST
#define rescuable is_stale
#else
#define rescuable (row.state == running)
#endif
#ifndef NO_DECLARED
#define goes_stale (!is_renewed)
#else
#define goes_stale true
#endif
#ifndef NO_RANDOM_LEASE
#define next_lease (claims + 1)
#else
#define next_lease (row.lease + 1)
#endif

inline copy(to, from) {
    to.state = from.state; to.lease = from.lease; to.attempt = from.attempt;
    to.crashes = from.crashes; to.fresh = from.fresh; to.abandoned = from.abandoned;
    to.claim = from.claim; to.by = from.by
}

#ifndef NO_LOCK_GRACE
#define lock_is_long_over (!touched || !(is_stale && is_renewed))
#else
#define lock_is_long_over true
#endif

/* A commit that waits for the disk; it flushes what came before it as well. */
inline commit() { copy(flushed, row) }

inline leave(w) { does[w] = idle; mine[w] = 0; excused[w] = false }

/* The claim's UPDATE.  It is not flushed. */
inline take(w, new_lease, number) {
    twice = runs_beside(w);
    assert(!twice);
    row.state = running; row.lease = new_lease; row.claim = number; row.by = w;
    row.attempt++; row.fresh = true; row.abandoned = false; touched = false;
    assert(row.attempt <= MAX_ATTEMPTS)
}

proctype Worker(byte me) {
    byte lease, attempt;
    bool fails;
    do
    /* claim: candidates are read without a lock */
    :: atomic { can_ask(me) && does[me] == idle && row.state == available -> does[me] = looked }
    /* claim: locked with SKIP LOCKED, tested again, changed */
    :: atomic { can_ask(me) && does[me] == looked ->
        lease = next_lease; does[me] = idle;
        if
        :: claimable -> claims++; take(me, lease, claims);
            mine[me] = claims; attempt = row.attempt; does[me] = runs
        :: !claimable -> lease = 0
        /* the connection is lost before the answer comes */
        :: faults > 0 && !lost[me] -> faults--; claims++; on_its_way[me] = claims;
            late_lease[me] = lease;
#ifndef NO_HAND_BACK
            lost[me] = lease;
#endif
            lease = 0
        fi }
    /* hand_back_claim, at intervals; not flushed */
    :: atomic { can_ask(me) && lost[me] && !locked &&
                (!on_its_way[me] || (row.state == running && row.lease == lost[me])) ->
        if
#ifndef NO_HAND_BACK_LEASE
        :: row.state == running && row.lease == lost[me] ->
#else
        :: row.state == running ->
#endif
            row.state = available; row.attempt--; row.claim = 0
        :: else
        fi;
        if
        :: !on_its_way[me] -> lost[me] = 0
        :: else
        fi }
    /* the handler ends, also in a worker that is cut off */
    :: atomic { up[me] != dead && does[me] == runs -> does[me] = ended;
        if :: fails = true :: fails = false fi }
    /* heartbeat */
    :: atomic { can_ask(me) && (does[me] == runs || does[me] == ended) && !locked &&
                owned(lease) && !row.fresh -> row.fresh = true; touched = false; commit() }
    /* heartbeat: the lease is gone, the handler is stopped */
    :: atomic { can_ask(me) && does[me] == runs && !owned(lease) ->
        leave(me); lease = 0; attempt = 0 }
    /* finish_completed, finish_attempts: an end of a stale attempt changes nothing */
    :: atomic { can_ask(me) && does[me] == ended && !locked ->
        if
        :: owned(lease) ->
            stale_end = (row.claim != mine[me]);
            assert(!stale_end);
            row.claim = 0;
            if
            :: !fails -> row.state = completed
#ifndef NO_LAST_ATTEMPT
            :: fails && attempt >= MAX_ATTEMPTS -> row.state = failed
            :: fails && attempt < MAX_ATTEMPTS -> row.state = retryable
#else
            :: fails -> row.state = retryable
#endif
            fi;
            commit()
        :: else
        fi;
        leave(me); lease = 0; attempt = 0; fails = false }
    od
}

/* What happens to a worker: kill, stop or loss of its connections, return. */
proctype Fate(byte w) {
    do
    :: atomic { faults > 0 && living > 1 && up[w] != dead -> faults--; living--; up[w] = dead; leave(w); lost[w] = 0 }
    :: atomic { faults > 0 && up[w] == alive -> faults--; up[w] = silent }
    :: atomic { up[w] == silent -> up[w] = alive }
    /* the server carries out a claim whose connection is lost, or notices the loss */
    :: atomic { on_its_way[w] && !down ->
        if
        :: claimable -> take(w, late_lease[w], on_its_way[w])
        :: true
        fi;
        on_its_way[w] = 0; late_lease[w] = 0 }
    od
}

proctype Database() {
    byte w;
    do
    /* no heartbeat for longer than the staleness */
    :: atomic { row.state == running && row.fresh && goes_stale ->
        row.fresh = false; row.abandoned = was_silent }
    /* the server flushes what was not flushed */
    :: atomic { flushed.claim != row.claim || flushed.state != row.state -> commit() }
    :: atomic { faults > 0 && !locked && !down -> faults--; locked = true; touched = true }
    :: atomic { locked -> locked = false }
    /* a crash: commits that were not flushed are forgotten */
    :: atomic { faults > 0 && !down ->
        faults--; down = true; locked = false; found = false;
        for (w : 0 .. WORKERS - 1) {
            on_its_way[w] = 0; late_lease[w] = 0;
            excused[w] = excused[w] || (mine[w] && mine[w] != flushed.claim)
        }
        copy(row, flushed);
        if
        :: row.state == running && mine[row.by] != row.claim && lost[row.by] != row.lease ->
            row.by = WORKERS
        :: else
        fi }
    :: atomic { down -> down = false; steady = false }
    od
}

/* The leader's duties that concern the job. */
proctype Leader() {
    do
    /* the grace after an outage: by then each living worker has renewed */
    :: atomic { !down && !steady && !(is_stale && is_renewed) ->
        steady = true;
        if
        :: is_stale -> row.abandoned = row.abandoned || was_silent
        :: else
        fi }
#ifndef NO_RESCUE
    /* stale_ids, without a lock */
#ifndef NO_OUTAGE_GRACE
    :: atomic { !down && steady && is_stale && !found -> found = true }
#else
    :: atomic { !down && is_stale && !found -> found = true }
#endif
    /* rescue: a locked row is left, and one that was locked gets a grace */
    :: atomic { !down && found && (locked || !is_stale) -> found = false }
    :: atomic { !down && found && !locked && lock_is_long_over ->
        found = false;
        if
        :: rescuable ->
            robbed = !row.abandoned && !was_silent;
            assert(!robbed);
            excused[row.by] = excused[row.by] || mine[row.by] == row.claim;
            row.crashes++;
            row.claim = 0;
            if
            :: row.crashes >= MAX_ATTEMPTS -> row.state = failed
            :: else -> row.state = retryable; row.attempt--
            fi;
            commit()
        :: else
        fi }
#endif
#ifndef NO_PROMOTE
    :: atomic { !down && row.state == retryable -> row.state = available; commit() }
#endif
    od
}

init {
    byte w;
    atomic {
        up[WORKERS] = dead;
        for (w : 0 .. WORKERS - 1) { run Worker(w); run Fate(w) }
        run Database();
        run Leader()
    }
}

ltl ends { <> (row.state == completed || row.state == failed) }
