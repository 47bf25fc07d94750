"""What commands print as JSON is what their schemas in docs/reference/schemas/ promise."""

from __future__ import annotations

import csv
import io
import json
from datetime import datetime

import pytest
from fix_cli import LEAVES, ROOT, forms
from golden_cases import CASES
from golden_runs import Line, in_a_pipe
from jsonschema import Draft202012Validator, FormatChecker

from awa_cli.documents.catalog import DOCUMENTS

FOLDER = ROOT / "docs" / "reference" / "schemas"
# Forms that the golden files do not show.
MORE = {
    "job enqueue": ['job enqueue --ndjson - -o json <<< {"kind": "a"}'],
    "job dump-run": ["job dump-run 106", "job dump-run 107"],
    "cron apply": ["cron apply -f {dir}/schedules.yaml --prune --dry-run -o json"],
    "dlq depth": ["dlq depth --queue nothing -o json"],
    "health": ["health --workers 9 -o json"],
    "migrate": [
        "migrate -o json --database-url {empty}", "migrate --check -o json --database-url {empty}",
        "migrate --sql -o json", "migrate --extract-to {dir}/scripts -o json",
        "migrate --restore dequeue-index -o json",
    ],
    "version": ["version -o json", "version --check -o json --database-url {empty}"],
    "queue show": ["queue show payments -o json"],
}  # fmt: skip
checker = FormatChecker(formats=())


@checker.checks("date-time", raises=ValueError)
def is_moment(text: object) -> bool:
    return not isinstance(text, str) or datetime.fromisoformat(text).utcoffset() is not None


def validator(name: str) -> Draft202012Validator:
    schema = json.loads((FOLDER / f"{name.replace(' ', '-')}.json").read_text(encoding="utf-8"))
    Draft202012Validator.check_schema(schema)
    return Draft202012Validator(schema, format_checker=checker)


def line_of(name: str) -> str:
    data = CASES[name].data or CASES[name].lines[0]
    command, given, typed = data.removesuffix(" | cat").partition(" <<< ")
    return command + (" -o json" if forms(name) else "") + given + typed


LINES = [
    pytest.param(name, line, id=line)
    for name in DOCUMENTS
    for line in [line_of(name), *MORE.get(name, ())]
    if name not in {"bench", "demo"}  # their own tests have one
]


@pytest.mark.parametrize(("name", "line"), LINES)
def test_output_is_as_promised(place, monkeypatch, capsys, name, line) -> None:
    _, out = in_a_pipe(Line(line), place(), monkeypatch, capsys)
    values = map(json.loads, out.splitlines()) if DOCUMENTS[name].lines else [json.loads(out)]

    for value in values:
        validator(name).validate(value)


def test_every_command_that_prints_json_has_a_schema() -> None:
    printing = {name for name in LEAVES if forms(name)}
    assert printing <= DOCUMENTS.keys(), "add it to awa_cli/documents/catalog.py"
    always = {"job dump", "job dump-run"}
    assert DOCUMENTS.keys() - printing == always


def test_shapes_are_closed() -> None:
    for name in DOCUMENTS:
        for definition in validator(name).schema["$defs"].values():
            assert definition["additionalProperties"] is False
            assert definition["required"] == list(definition["properties"])


@pytest.mark.parametrize("name", [one for one in LEAVES if "csv" in forms(one)])
def test_lists_have_the_same_fields_in_every_form(place, monkeypatch, capsys, name) -> None:
    """Names of the read model: JSON, the heading of csv, templates and ids."""
    here = place()
    schema = validator(name).schema
    items = schema.get("items") or schema.get("anyOf", [schema])[0]
    model = items["$ref"].rpartition("/")[2]
    fields = list(schema["$defs"][model]["properties"])

    def out(form: str) -> str:
        line = line_of(name).replace(" -o json", f" -o {form}")
        # The line may change the database: each form gets its own.
        return in_a_pipe(Line(line), place() if CASES[name].changes else here, monkeypatch, capsys)[
            1
        ]

    header, *rows = csv.reader(io.StringIO(out("csv")))
    assert header == fields
    assert all(len(row) == len(fields) for row in rows)
    assert out(f"template='{{{fields[0]}}}'") == out("ids")
    assert [list(json.loads(text)) for text in out("ndjson").splitlines()] == [fields] * len(rows)
