"""All faults: one function each, which plays it on a fleet under load."""

from __future__ import annotations

from collections.abc import Callable

import faults_of_clocks as clocks
import faults_of_deploys as deploys
import faults_of_operators as operators
import faults_of_poison as poison
import faults_of_the_network as network
import faults_of_the_server as server
import faults_of_workers as workers
from fix_fleet import Fleet

Fault = Callable[[Fleet], None]

OF_OPERATORS: list[Fault] = [
    operators.cancels_in_a_storm,
    operators.retries_of_waiting_jobs,
    operators.moves_between_queues,
    operators.an_open_policy,
    operators.an_open_unique_key,
    operators.odd_rows,
]
OF_WORKERS: list[Fault] = [
    workers.sigterm_of_a_worker,
    workers.kill_9_of_a_worker,
    workers.a_stopped_leader,
    workers.kill_9_of_the_leader,
    workers.a_worker_stopped_past_its_staleness,
    workers.sigterm_amid_ends,
    workers.kill_9_of_a_child,
    workers.kill_9_of_a_supervisor,
    workers.kill_9_of_a_process_group,
    workers.a_second_signal_to_a_supervisor,
]
OF_POISON: list[Fault] = [
    poison.a_poison_job,
    poison.jobs_that_end_their_process,
    poison.jobs_that_fail_badly,
    poison.jobs_that_do_odd_things,
    poison.jobs_that_break_their_process,
    poison.a_worker_whose_log_raises,
    poison.a_worker_without_streams,
]
OF_CLOCKS: list[Fault] = [
    clocks.a_clock_an_hour_ahead,
    clocks.a_clock_an_hour_behind,
    clocks.a_clock_a_day_ahead,
    clocks.a_monotonic_clock_a_day_ahead,
    clocks.steps_of_a_clock,
]
OF_DEPLOYS: list[Fault] = [
    deploys.a_rolling_restart,
    deploys.a_rolling_deploy_with_a_new_kind,
    deploys.a_rolling_deploy_of_an_older_release,
]
OF_THE_NETWORK: list[Fault] = [
    network.a_silent_network,
    network.a_cut_network,
    network.half_open_connections,
    network.a_latency_of_300_ms,
    network.commits_whose_answer_is_cut,
    network.claims_cut_from_their_rows,
]
OF_THE_SERVER: list[Fault] = [
    server.a_transaction_on_running_rows,
    server.a_locked_table,
    server.a_table_locked_for_long,
    server.time_outs_of_the_role,
    server.terminated_in_a_storm,
    server.cancelled_in_a_storm,
    server.immediate_restarts,
    server.a_server_that_is_away,
    server.a_stopped_server,
    server.a_read_only_server,
    server.a_minute_away,
    server.a_crash_loop,
    server.a_fast_restart,
    server.an_immediate_restart,
    server.a_full_disk_of_the_log,
    server.a_full_disk_of_the_rows,
    server.no_free_connections,
    server.each_connection_is_terminated_in_turn,
    server.a_prepared_transaction_on_rows,
    server.a_pinned_snapshot,
]
ALL: list[Fault] = [
    *OF_OPERATORS,
    *OF_WORKERS,
    *OF_POISON,
    *OF_CLOCKS,
    *OF_DEPLOYS,
    *OF_THE_NETWORK,
    *OF_THE_SERVER,
]
# Those of CI: well under two minutes together.
SHORT: list[Fault] = [
    operators.cancels_in_a_storm,
    operators.moves_between_queues,
    server.time_outs_of_the_role,
    server.terminated_in_a_storm,
    server.no_free_connections,
    server.a_full_disk_of_the_rows,
    server.a_full_disk_of_the_log,
    server.an_immediate_restart,
    network.commits_whose_answer_is_cut,
    network.claims_cut_from_their_rows,
    network.a_latency_of_300_ms,
    workers.kill_9_of_a_worker,
]
# Those that take minutes: one of them in a round is enough.
LONG: list[Fault] = [server.a_minute_away, server.a_pinned_snapshot, poison.a_poison_job]
# What may overlap: one of the first list with one of the second.
AWAY: list[Fault] = [f for f in [*OF_THE_NETWORK, *OF_THE_SERVER] if f not in LONG]
PAIRS: list[tuple[list[Fault], list[Fault]]] = [
    (AWAY, OF_OPERATORS),
    # One that is told to stop while the database is silent ends with 1, as it should.
    (AWAY, [workers.kill_9_of_a_worker]),
    (OF_OPERATORS, OF_WORKERS[:3]),
    (OF_THE_NETWORK, [f for f in OF_THE_SERVER if f not in LONG]),
] * 4
# Seconds until all must work again, where 10 are not enough: nothing shows at once that the
# connections are dead.
PATIENCE: dict[Fault, float] = {network.half_open_connections: 30}
