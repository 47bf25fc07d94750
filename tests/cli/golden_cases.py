"""What is run for the golden files: the command lines of each command.

To add a command: a line here, then ``pytest tests/cli/test_golden.py --update-golden`` and look at
the new file.  Help comes by itself, and so do the forms of ``-o`` that a command takes.

A line is run at terminals of 80 and 200 columns; one that ends in ``| cat`` or prints data is run
in a pipe.  ``<<< TEXT`` is what is typed, or stdin.  ``{dir}`` is an empty folder, ``{empty}`` a
database without a schema, ``{cron}`` an expression that fires in 14 hours and a half.
"""

from __future__ import annotations

from dataclasses import dataclass

CALLBACK = "8feaec61-ea03-4e4c-ab3d-f63350329dc6"
PENDING = "4e0c2c1e-0f5e-4e5b-8f5a-000000000001"
ENDED = "4e0c2c1e-0f5e-4e5b-8f5a-000000000002"
FAILURE = "3f9a2c81d0e1"
BIG = 9007199254740993


@dataclass(frozen=True)
class Case:
    """The lines of a command; ``data`` is the one that is also printed in every form it has."""

    lines: list[str]
    data: str = ""
    changes: bool = False
    """Each run gets a database of its own."""


def looks(*lines: str, data: str = "") -> Case:
    return Case(list(lines), data or lines[0])


def changes(*lines: str, data: str = "") -> Case:
    return Case(list(lines), data or lines[0], changes=True)


CASES = {
    # Jobs
    "job list": looks(
        "job list",
        "job list | cat",
        "job list --state failed -o wide",
        "job list --columns id,state,args.to,errors.0.error",
        "job list --limit 2",
        "job list --limit 2 -o template='{id}: {state}'",
        "job list --kind nothing --fail-empty",
        "job list --queue emial",
        data="job list --state failed --limit 1",
    ),
    "job show": looks(
        "job show 101", "job show 102", "job show 106", "job show 107", "job show 108", "job show 999",
        data="job show 106",
    ),
    "job dump": looks("job dump 102 | cat"),
    "job dump-run": looks("job dump-run 102 --attempt 1 | cat", "job dump-run 106 --attempt 7"),
    "job result": looks(
        "job result 101", "job result 101 --raw", "job result 101 --redact secret",
        "job result 102", "job result 104", "job result 999", data="job result 101",
    ),
    "job logs": looks("job logs 102", "job logs 104 --attempt 1"),
    "job wait": looks(
        "job wait 101", "job wait 101 103", "job wait 104 --timeout 0.1s", "job wait 999",
        "job wait 101 --result", data="job wait 103",
    ),
    "job watch": looks("job watch 101", "job watch 102", "job watch 101 | cat"),
    "job tail": looks("job tail", "job tail --kind nothing", data="job tail -n 2"),
    "job retry": changes(
        "job retry 102 103", "job retry 101", "job retry 999", "job retry - <<< 102 103",
        "job retry --state failed --kind send_email <<< y",
        "job retry --state failed <<< n",
        "job retry --state failed --dry-run",
        "job retry --state failed | cat",
        "job retry --kind nothing --fail-empty",
        "job retry",
    ),
    "job cancel": changes(
        "job cancel 104", "job cancel 101", "job cancel --kind send_email --yes"
    ),
    "job priority": changes("job priority 1 104", "job priority 1 --queue email --yes"),
    "job move": changes("job move slow 104", "job move slow --queue email --yes"),
    "job retry-failed": changes(
        "job retry-failed --kind send_email", "job retry-failed --queue nothing --fail-empty",
        "job retry-failed",
    ),
    "job discard": changes(
        "job discard 102", "job discard --kind send_email <<< y",
        "job discard --state cancelled --yes",
    ),
    "job enqueue": changes(
        "job enqueue send_email",
        """job enqueue report --args '{"to": "x"}' --queue slow --delay 14h30m --unique args,states=any""",
        """job enqueue --ndjson - <<< {"kind": "a"}\\n{"kind": "b", "queue": "slow"}""",
        """job enqueue --ndjson - <<< {"kind": "a"}\\n{"kin": "b"}""",
        "job enqueue report --args nonsense",
    ),
    # Queues
    "queue stats": looks(
        "queue stats", "queue stats | cat", "queue stats --fail-if 'lag>600s'",
        "queue stats --columns queue,failed",
    ),
    "queue list": looks("queue list", "queue list -o wide"),
    "queue show": looks("queue show email", "queue show payments", "queue show emial"),
    "queue pause": changes("queue pause email", "queue pause emial"),
    "queue resume": changes("queue resume payments"),
    "queue cancel-waiting": changes(
        "queue cancel-waiting email <<< y", "queue cancel-waiting email <<< n"
    ),
    "queue purge": changes(
        "queue purge email <<< y", "queue purge email --ended --yes", "queue purge email | cat"
    ),
    "queue set": changes(
        "queue set email --max-running 20 --rate-limit 50/s --keep-failed 30d",
        "queue set email --rate-limit much", "queue set email",
    ),
    "queue unset": changes("queue unset payments max_running", "queue unset payments max_runing"),
    "kind list": looks("kind list", "kind list -o wide"),
    "kind show": looks("kind show send_email", "kind show send_mail"),
    # Schedules
    "cron list": looks("cron list", "cron list -o wide"),
    "cron show": looks("cron show nightly", "cron show billing_of_the_month", "cron show nihgtly"),
    "cron next": looks(
        "cron next '{cron}' -n 3", "cron next nightly --tz Asia/Tokyo", "cron next '61 * * * *'"
    ),
    "cron trigger": changes("cron trigger nightly"),
    "cron pause": changes("cron pause nightly"),
    "cron resume": changes("cron resume billing_of_the_month"),
    "cron remove": changes("cron remove nightly <<< y", "cron remove nothing --fail-empty --yes"),
    "cron export": looks("cron export | cat", "cron export --format toml | cat"),
    "cron apply": changes(
        "cron apply -f {dir}/schedules.yaml <<< y", "cron apply -f {dir}/schedules.yaml --check",
        "cron apply -f {dir}/schedules.yaml --prune --dry-run", "cron apply -f {dir}/nothing",
        data="cron apply -f {dir}/schedules.yaml --dry-run",
    ),
    # Dead letters and bulk operations
    "dlq list": looks("dlq list", "dlq list -o wide", "dlq list --kind nothing"),
    "dlq show": looks("dlq show 52", "dlq show 102"),
    "dlq depth": looks("dlq depth"),
    "dlq retry": changes("dlq retry 51", "dlq retry --all <<< y", "dlq retry 102", "dlq retry"),
    "dlq purge": changes("dlq purge 51", "dlq purge --queue email --dry-run",
        "dlq purge --all --dry-run -o json"),
    "dlq move": changes("dlq move 102", "dlq move --queue email --reason 'bad template' --yes"),
    "dlq enable": changes("dlq enable email"),
    "dlq disable": changes("dlq disable payments"),
    # Failures
    "failure list": looks(
        "failure list", "failure list -o wide", "failure list --since 1h --kind nothing",
        "failure list --muted --since 7d --columns id,failed,muted_until",
        data="failure list --limit 1",
    ),
    "failure show": looks(
        f"failure show {FAILURE}", "failure show 0123456789ab", "failure show nothing"
    ),
    "failure retry": changes(
        f"failure retry {FAILURE}", f"failure retry {FAILURE} --fail-empty", "failure retry others",
        "failure retry nothing",
    ),
    "failure mute": changes(
        f"failure mute {FAILURE}", f"failure mute {FAILURE} --for long", "failure mute nothing"
    ),
    "failure unmute": changes("failure unmute 0123456789ab", "failure unmute nothing"),
    "batch list": looks("batch list", "batch list -o wide", "batch list --state failed"),
    "batch show": looks(f"batch show {PENDING}", f"batch show {ENDED}"),
    "batch submit": changes(
        "batch submit retry --state failed", "batch submit delete --state completed <<< y",
        "batch submit retry --all --dry-run", "batch submit retyr --all",
    ),
    "batch run": changes(f"batch run {PENDING}", f"batch run {CALLBACK}"),
    "batch cancel": changes(f"batch cancel {PENDING}", f"batch cancel {ENDED}"),
    # Workflows
    "workflow list": looks(
        "workflow list", "workflow list -o wide", "workflow list --state opne",
        "workflow list --name nothing --fail-empty",
    ),
    "workflow show": looks(
        "workflow show 7", "workflow show 5", "workflow show 7 --limit 3",
        "workflow show 7 -o mermaid | cat", "workflow show 7 -o dot | cat", "workflow show 99",
        data="workflow show 7",
    ),
    "workflow tasks": looks(
        "workflow tasks 7", "workflow tasks 7 --group parts -o wide",
        "workflow tasks 7 --state failed", "workflow tasks 7 --group merge",
        data="workflow tasks 7 --group parts",
    ),
    "workflow cancel": changes(
        "workflow cancel 7 <<< y", "workflow cancel 7 <<< n", "workflow cancel 7 | cat",
        "workflow cancel 7 --dry-run", "workflow cancel 6 --yes",
    ),
    "workflow signal": changes(
        """workflow signal 7 approved --payload '{"by": "ann"}'""", "workflow signal 7 aproved",
        "workflow signal 7 merge", "workflow signal 6 approved",
    ),
    "workflow retry": changes(
        "workflow retry 7 <<< y", "workflow retry 7 --dry-run", "workflow retry 7 --task fetch",
        "workflow retry 7 --task frtch", "workflow retry 6 --yes",
        data="workflow retry 7 --yes",
    ),
    # Callbacks
    "callback complete": changes(
        f"""callback complete {CALLBACK} --payload '{{"paid": true}}'""",
        "callback complete 00000000-0000-4000-8000-000000000000", "callback complete nonsense",
    ),
    "callback fail": changes(f"callback fail {CALLBACK} --error 'card declined'"),
    "callback retry": changes(f"callback retry {CALLBACK}"),
    "callback resume": changes(f"callback resume {CALLBACK} --payload 3"),
    "callback heartbeat": changes(f"callback heartbeat {CALLBACK} --timeout 2h"),
    "callback sign": looks(f"callback sign {CALLBACK}"),
    "callback verify": looks(
        f"callback verify {CALLBACK} 00", f"callback verify {CALLBACK} 00 --action compleet"
    ),
    "audit": looks("audit", "audit --action queue -o wide", "audit --actor nobody --fail-empty"),
    # Run
    "tui": looks("tui --screen jbos", "tui --filter stat:failed"),
    "serve": looks("serve --host 0.0.0.0", "serve --cors-origin nonsense"),
    "callbacks serve": looks("callbacks serve --callback-hmac-secret nonsense"),
    "access user": changes(
        "access user bob --scope operate --file {dir}/access.toml | cat <<< correct horse battery",
        "access user bob --file {dir}/access.toml | cat <<< short", "access user 'no name'",
    ),
    "access token": changes("access token ci2 --file {dir}/access.toml"),
    "access remove": changes(
        "access remove ci --file {dir}/access.toml", "access remove bob --file {dir}/access.toml",
    ),
    "access list": looks(
        "access list --file {dir}/access.toml", "access list --file {dir}/nothing"
    ),
    "workers": looks("workers", "workers --all -o wide", "workers | cat"),
    "worker": looks("worker nowhere:client"),
    "bench": looks("bench --duration 1ms"),
    "demo": looks("demo {dir}/nothing", data="demo {dir}/nothing"),
    # Database
    "migrate": changes(
        "migrate", "migrate --check", "migrate --database-url {empty}",
        "migrate --check --database-url {empty}", "migrate --sql --version 99",
        data="migrate --check",
    ),
    "storage status": looks("storage status", "storage status -o json"),
    "storage prepare": changes("storage prepare --engine queue_storage"),
    "storage abort": changes("storage abort"),
    # Of the server itself nothing: tests run on one that is fast and careless.
    "doctor": looks(
        "doctor --check stuck,queues,batches,workers,descriptors,versions",
        "doctor --check queues --columns severity,subject", "doctor --check quues",
        "doctor --check versions",
    ),
    "roles": changes("roles | cat"),
    "health": looks("health", "health --workers 2 --queue slow", "health --database-url {empty}"),
    "version": looks("version --check", "version"),
    "dev up": looks("dev up --database-url postgresql://localhost/app"),
    "dev status": looks("dev status --data-dir {dir}/nothing"),
    "dev url": looks("dev url --data-dir {dir}/nothing"),
    "dev psql": looks("dev psql --database-url postgresql://localhost/app"),
    "dev down": looks("dev down --data-dir {dir}/nothing"),
    "dev reset": looks("dev reset --data-dir {dir}/nothing"),
    "context add": changes(
        "context add staging postgresql://app@db.example.org/app",
        "context add staging postgresql://app:secret@db.example.org/app",
    ),
    "context list": looks("context list"),
    "context use": changes("context use prod", "context use pord"),
    "context show": looks("context show", "context show prod"),
    "context remove": changes("context remove prod"),
    "context test": looks("context test here", "context test prod"),
}  # fmt: skip
