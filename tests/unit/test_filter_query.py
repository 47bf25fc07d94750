"""One filter in three spellings: what each writes it reads back, and its errors are its own."""

from __future__ import annotations

import re
import shlex
from datetime import UTC, datetime
from urllib.parse import parse_qsl

import pytest
from fix_cli import built
from hypothesis import given
from hypothesis import strategies as st

from awa_cli.filters.query import (
    FIELDS,
    InvalidFilter,
    Read,
    bulk_filter,
    fields_of,
    pairs,
    pairs_of,
    query_of_bulk,
    read_filter,
)
from awa_cli.filters.spelling import OPTIONS, QUERY_STRING, TEXT
from awa_cli.filters.text import read_text, text_pairs
from awa_cli.parser.job_options import read_options
from awa_lib.errors import InvalidInput
from awa_lib.filters import DlqFilter, JobFilter, JobQuery, checked_filter
from awa_lib.states import STATES

NAMES = [field.name for field in FIELDS]


def as_options(line: str) -> JobQuery:
    """Read options as ``awa job list`` does."""
    command = built()
    for name in ("job", "list"):
        command = command.get_command(None, name)  # type: ignore[attr-defined] # a group
    params = command.make_context("list", shlex.split(line)).params
    return read_options(**{name: params[name] for name in NAMES})


def as_query_string(text: str) -> JobQuery:
    """Read a query string as pages do."""
    return QUERY_STRING.read(parse_qsl(text, errors="strict"))


READERS = {
    "options": (OPTIONS, as_options),
    "text": (TEXT, read_text),
    "query string": (QUERY_STRING, as_query_string),
}

# NUL and lone surrogates are refused by all.
CHARACTERS = st.characters(exclude_categories=["Cs"], exclude_characters="\0")
WORDS = st.text(CHARACTERS, min_size=1, max_size=12)
KEYS = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0.="), min_size=1)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**63) | st.floats(-1e9, 1e9) | WORDS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(WORDS, inner, max_size=3),
    max_leaves=5,
)
OBJECTS = st.dictionaries(KEYS, JSON, min_size=1, max_size=3)
MOMENTS = st.datetimes(datetime(1000, 1, 1), timezones=st.just(UTC))
QUERIES = st.fixed_dictionaries(
    {},
    optional={
        "states": st.lists(st.sampled_from(STATES), min_size=1, unique=True),
        "kind": WORDS,
        "queue": WORDS,
        "tag": WORDS,
        "since": MOMENTS,
        "until": MOMENTS,
        "args": OBJECTS,
        "metadata": OBJECTS,
        "error": WORDS,
    },
)


@pytest.mark.parametrize("surface", READERS)
@given(query=QUERIES)
def test_what_is_written_is_read_back(surface, query) -> None:
    spelling, reader = READERS[surface]

    assert query == reader(spelling.write(pairs_of(query)))


@pytest.mark.parametrize("surface", READERS)
@given(
    texts=st.fixed_dictionaries(
        {},
        optional={
            "state": st.lists(st.sampled_from(STATES), min_size=1, max_size=3),
            "kind": WORDS,
            "tag": WORDS,
            "until": st.sampled_from(["2030-01-31T08:00:00Z", "2030-01-31", "1999-01-01 01:00"]),
            "where": st.lists(st.builds("{}.{}={}".format, st.sampled_from(["args", "metadata"]),
                                        KEYS, st.text(CHARACTERS, max_size=12)), max_size=2),
            "error": WORDS,
        },
    )
)  # fmt: skip
def test_pairs_as_they_were_typed_mean_the_same_in_every_spelling(surface, texts) -> None:
    spelling, reader = READERS[surface]
    typed = pairs(**texts)
    try:
        meant = read_filter(typed)
    except InvalidFilter:
        return

    assert meant == reader(spelling.write(typed))


@given(query=QUERIES)
def test_a_line_of_text_is_written_the_same_again(query) -> None:
    line = TEXT.write(pairs_of(query))

    assert line == TEXT.write(text_pairs(line))


@given(query=QUERIES)
def test_a_bulk_operation_holds_the_same_filter(query) -> None:
    query.pop("metadata", None)
    query["states"] = query.get("states", [])[:1]
    if not query["states"]:
        del query["states"]
    where = bulk_filter(query)
    back = query_of_bulk(where)

    checked_filter(where, JobFilter)
    assert query == read_filter(pairs_of(back))


# -- errors

WRONG = [
    ("state", "faild"),
    ("state", "failed,,"),
    ("kind", "k" * 201),
    ("queue", "q" * 201),
    ("tag", "t" * 201),
    ("since", "soon"),
    ("since", "2030-13-01"),
    ("since", "9999999999d"),
    ("until", "1x"),
    ("until", "0001-01-01T00:00:00+10:00"),
    ("where", "customer=1"),
    ("where", "args"),
    ("where", "args..a=1"),
    ("where", "args.a=1e999"),
    ("where", 'args.a="\\u0000"'),
    ("where", "args." + "a." * 3000 + "a=1"),
    ("where", "args.a=" + "[" * 100 + "]" * 100),
    ("where", "args.a\0b=1"),
    ("where", "args.a=\0"),
    ("where", "metadata.\ud800=1"),
    ("where", 'args.a={"\ud800": 1}'),
    ("error", "e" * 10_001),
    *[(name, "a\0b") for name in NAMES],
    *[(name, "\ud800") for name in NAMES],
]
SPELLED = {"options": "--{0} ", "text": "{0}: ", "query string": "{0}="}


def error_of(surface: str, given: list[tuple[str, str]], read: Read = Read.JOBS) -> InvalidInput:
    with pytest.raises(InvalidInput) as caught:
        READERS[surface][0].read(given, read)
    return caught.value


def check_spelling(surface: str, name: str, error: InvalidInput) -> None:
    lead = "" if (surface, name) == ("text", "where") else SPELLED[surface].format(name)
    assert str(error).startswith((f"{lead}'", f'{lead}"')), str(error)
    said = f"{error} {error.why} {error.hint}"
    if surface != "options":
        assert "--" not in said
    fields = "|".join(NAMES)
    if surface != "text":
        assert not re.search(rf"\b({fields}):", said), said
    if surface != "query string":
        assert not re.search(rf"(?<!\w)({fields})=", said), said
    assert len(str(error)) < 300


@pytest.mark.parametrize("surface", READERS)
@pytest.mark.parametrize(("name", "value"), WRONG, ids=lambda one: ascii(one)[:30])
def test_an_error_names_the_field_as_the_surface_writes_it(surface, name, value) -> None:
    check_spelling(surface, name, error_of(surface, [(name, value)]))


@pytest.mark.parametrize("surface", READERS)
@pytest.mark.parametrize("name", [field.name for field in FIELDS if not field.repeats])
def test_a_field_is_given_once(surface, name) -> None:
    example = fields_of(Read.JOBS)[name].example
    error = error_of(surface, [(name, example), (name, example)])

    check_spelling(surface, name, error)
    assert "is given twice" in str(error)


@pytest.mark.parametrize("surface", READERS)
@pytest.mark.parametrize("read", Read)
def test_a_read_takes_its_own_fields(surface, read) -> None:
    spelling, _ = READERS[surface]
    for field in FIELDS:
        if field.name in fields_of(read):
            assert spelling.read([(field.name, field.example)], read)
        else:
            error = error_of(surface, [(field.name, field.example)], read)
            check_spelling(surface, field.name, error)
            assert f"does not filter {read}" in str(error)


@pytest.mark.parametrize("surface", READERS)
@pytest.mark.parametrize(
    "given",
    [
        ["args.a=1", "args.a=2"],
        ["args.a=1", "args.a.b=1"],
        ["args.a.b=1", "args.a=1"],
        ["args.a=[1]", "args.a=[2]"],
    ],
)
def test_conditions_that_no_job_meets_are_refused(surface, given) -> None:
    error = error_of(surface, pairs(where=given))

    check_spelling(surface, "where", error)
    assert "contradicts" in str(error)


def test_conditions_add_up_in_any_order() -> None:
    conditions = ['args.a={"b": 1}', "args.a.c=2", "args.a.b=1"]

    for order in (conditions, conditions[::-1]):
        assert {"args": {"a": {"b": 1, "c": 2}}} == read_filter(pairs(where=order))


@pytest.mark.parametrize("surface", READERS)
@pytest.mark.parametrize(
    ("query", "name"),
    [
        ({"states": ["failed", "running"]}, "state"),
        ({"metadata": {"a": 1}, "kind": "k"}, "where"),
    ],
)
def test_what_a_bulk_operation_does_not_take_is_refused(surface, query, name) -> None:
    with pytest.raises(InvalidInput) as caught:
        READERS[surface][0].bulk(query)

    check_spelling(surface, name, caught.value)


@pytest.mark.parametrize(
    ("surface", "hint"),
    [
        ("options", "write it like --since 2h or --since 2030-01-31T08:00:00Z"),
        ("text", "write it like since:2h or since:2030-01-31T08:00:00Z"),
        ("query string", "write it like since=2h or since=2030-01-31T08%3A00%3A00Z"),
    ],
)
def test_a_hint_can_be_typed_as_it_stands(surface, hint) -> None:
    assert hint == error_of(surface, [("since", "soon")]).hint
    for example in re.split(" or ", hint.removeprefix("write it like ")):
        assert "since" in READERS[surface][1](example)


# -- the table agrees with the library


def test_the_fields_of_a_read_are_those_of_the_library() -> None:
    def keys(read: Read) -> set[str]:
        examples = {name: field.example for name, field in fields_of(read).items()}
        return set(read_filter(examples.items(), read))

    assert keys(Read.DEAD_LETTERS) == set(DlqFilter.__annotations__)
    assert keys(Read.JOBS) == set(JobQuery.__annotations__) - {"before_id", "metadata"}
    bulk = {name: field.example for name, field in fields_of(Read.BULK).items()}
    assert set(bulk_filter(read_filter(bulk.items()))) == set(JobFilter.__annotations__)


@pytest.mark.parametrize("where", [{"args": {}}, {"args": {"a.b": 1}}, {"args": {"": 1}}])
def test_what_no_condition_means_is_not_written(where) -> None:
    with pytest.raises(ValueError, match="no condition"):
        pairs_of(where)
