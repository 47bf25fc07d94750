"""``awa storage``: the report scripts read."""

from __future__ import annotations

KEYS = [
    "current_engine", "active_engine", "prepared_engine", "state", "transition_epoch", "details",
    "entered_at", "updated_at", "finalized_at", "canonical_live_backlog",
    "prepared_queue_storage_schema", "prepared_schema_ready", "live_runtime_capability_counts",
    "can_enter_mixed_transition", "enter_mixed_transition_blockers", "can_finalize",
    "finalize_blockers",
]  # fmt: skip


def test_status_of_a_fresh_database(cli) -> None:
    report = cli("storage", "status").data

    assert list(report) == KEYS
    assert report["entered_at"].endswith("Z")
    assert {**report, "entered_at": None, "updated_at": None} == {
        "current_engine": "canonical",
        "active_engine": "canonical",
        "prepared_engine": None,
        "state": "canonical",
        "transition_epoch": 0,
        "details": {},
        "entered_at": None,
        "updated_at": None,
        "finalized_at": None,
        "canonical_live_backlog": 0,
        "prepared_queue_storage_schema": None,
        "prepared_schema_ready": False,
        "live_runtime_capability_counts": {},
        "can_enter_mixed_transition": False,
        "enter_mixed_transition_blockers": [
            "state is 'canonical' (expected 'prepared')",
            'prepared_engine is None (expected Some("queue_storage"))',
            "no live queue-storage-capable runtimes are reporting",
        ],
        "can_finalize": False,
        "finalize_blockers": [
            "state is 'canonical' (expected 'mixed_transition')",
            'prepared_engine is None (expected Some("queue_storage"))',
        ],
    }


def test_prepare_and_abort_print_the_report(cli, db, add) -> None:
    add()
    add("completed")
    add("scheduled")
    db.execute(
        "INSERT INTO awa.runtime_instances (instance_id, pid, version, started_at, last_seen_at,"
        " snapshot_interval_ms, healthy, postgres_connected, poll_loop_alive, heartbeat_alive,"
        " shutting_down, leader)"
        " SELECT gen_random_uuid(), 1, 'x', now(), now() - ago, 10000, true, true, true, true,"
        " false, false FROM unnest('{0s,29s,31s,1h}'::interval[]) AS ago"
    )

    ran = cli("storage", "prepare", "--engine", "queue_storage", "--details", '{"schema": "Odd x"}')

    report = ran.data
    assert ran.err.startswith("database: ")
    assert (report["state"], report["transition_epoch"]) == ("prepared", 1)
    assert (report["prepared_engine"], report["details"]) == ("queue_storage", {"schema": "Odd x"})
    assert report["prepared_queue_storage_schema"] == "Odd x"
    assert report["canonical_live_backlog"] == 2
    assert report["live_runtime_capability_counts"] == {"canonical": 2}
    assert report["enter_mixed_transition_blockers"] == [
        "prepared queue-storage schema is missing required tables",
        "2 canonical-only runtime(s) are still live",
        "no live queue-storage-capable runtimes are reporting",
    ]
    assert report["finalize_blockers"] == [
        "state is 'prepared' (expected 'mixed_transition')",
        "canonical live backlog is 2",
        "2 canonical or drain-only runtime(s) are still live",
    ]
    assert cli("storage", "abort").data["state"] == "canonical"
    assert cli("storage", "abort").data["transition_epoch"] == 2


def test_prepared_schema_is_ready_with_its_tables(cli, db) -> None:
    db.execute("CREATE SCHEMA awa_exp")
    for table in ("queue_ring_state", "ready_entries", "leases"):
        assert not cli("storage", "status").data["prepared_schema_ready"]
        db.execute(f"CREATE TABLE awa_exp.{table} ()")

    report = cli("storage", "prepare", "--engine", "queue_storage").data

    assert (report["prepared_queue_storage_schema"], report["prepared_schema_ready"]) == (
        "awa_exp", True,
    )  # fmt: skip


def test_engines_that_cannot_be_prepared(cli) -> None:
    for engine, says in (("canonical", "already active"), (" ", "must not be blank")):
        ran = cli("storage", "prepare", "--engine", engine)
        assert (ran.status, ran.out) == (2, "")
        assert says in ran.err
        assert "do: see where the transition stands: awa storage status" in ran.err


def test_a_lost_record_is_a_schema_error(cli, db) -> None:
    db.execute("DELETE FROM awa.storage_transition_state")

    ran = cli("storage", "status")

    assert (ran.status, ran.out) == (4, "")
