"""Arguments back from JSON by the declared type."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from enum import Enum, Flag, IntEnum, StrEnum
from typing import (
    Annotated,
    Any,
    Final,
    Generic,
    Literal,
    NamedTuple,
    NewType,
    NotRequired,
    Optional,
    Required,
    TypedDict,
    TypeVar,
)
from uuid import UUID

import pydantic
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from awa_lib.codec.decode import decoder
from awa_lib.codec.encode import encode
from awa_lib.errors import ValidationError

T = TypeVar("T")
UserId = NewType("UserId", int)


class Color(Enum):
    RED = "red"
    WHEN = date(2024, 2, 3)
    PAIR = (1, 2)


class Level(IntEnum):
    LOW = 1
    HIGH = 3


class Word(StrEnum):
    YES = "yes"


class Access(Flag):
    READ = 1
    WRITE = 2


class Point(NamedTuple):
    x: int
    at: date


class Window(TypedDict):
    start: datetime
    size: NotRequired[timedelta]


class Loose(TypedDict, total=False):
    n: Required[int]
    ids: set[UUID]


class Address(pydantic.BaseModel):
    zip: str
    since: date


@dataclass(frozen=True)
class Customer:
    id: int
    name: str = ""


@dataclass
class Box(Generic[T]):
    inside: T
    others: list[T] = field(default_factory=list)


@dataclass
class Node:
    name: str
    children: list[Node] = field(default_factory=list)
    later: Later | None = None


@dataclass
class Everything:
    n: int
    x: float
    flag: bool
    text: str
    nothing: None
    at: datetime
    day: date
    clock: time
    span: timedelta
    id: UUID
    price: Decimal
    color: Color
    level: Level
    word: Word
    access: Access
    customer: Customer
    maybe: Customer | None
    old_style: Optional[int]  # noqa: UP045 - many programs hold it
    ids: set[int]
    frozen: frozenset[Color]
    prices: list[Decimal]
    pair: tuple[int, date]
    row: tuple[UUID, ...]
    by_name: dict[str, Customer]
    choice: Literal["a", 1, True, None]  # noqa: PYI061 - taken as well
    either: date | datetime | int
    user: UserId
    noted: Annotated[Decimal, ["unhashable"]]
    point: Point
    window: Window
    loose: Loose
    names: Sequence[str]
    table: Mapping[str, list[date]]
    box: Box[date]
    anything: Any
    fixed: Final[int] = 3  # type: ignore[misc] # a dataclass may


@dataclass
class Later:
    when: date


def back(value: Any) -> Any:
    """Return what a handler gets for a value: jsonb keeps numbers, not their spelling."""
    return decoder(type(value))(json.loads(encode(value)))


texts = st.text(st.characters(exclude_characters="\x00", exclude_categories=("Cs",)), max_size=8)
ints = st.integers(-(2**63), 2**64 - 1)
floats = st.floats(-1.7e308, 1.7e308)
decimals = st.decimals(allow_nan=False, allow_infinity=False)
# ISO 8601 has no place for fold, which tells the two 2:30s of an autumn night apart.
moments = st.datetimes(timezones=st.none() | st.just(UTC)).map(
    lambda moment: moment.replace(fold=0)
)
clocks = st.times().map(lambda clock: clock.replace(fold=0))
customers = st.builds(Customer, ints, texts)
HINTS: dict[Any, Any] = {
    "n": ints, "x": floats, "flag": st.booleans(), "text": texts, "nothing": st.none(),
    "at": moments, "day": st.dates(), "clock": clocks, "span": st.timedeltas(),
    "id": st.uuids(), "price": decimals, "color": st.sampled_from(Color),
    "level": st.sampled_from(Level), "word": st.sampled_from(Word),
    "access": st.sampled_from([Access.READ, Access.READ | Access.WRITE, Access(0)]),
    "customer": customers, "maybe": st.none() | customers, "old_style": st.none() | ints,
    "ids": st.sets(ints, max_size=3), "frozen": st.frozensets(st.sampled_from(Color)),
    "prices": st.lists(decimals, max_size=3), "pair": st.tuples(ints, st.dates()),
    "row": st.lists(st.uuids(), max_size=3).map(tuple),
    "by_name": st.dictionaries(texts, customers, max_size=3),
    "choice": st.sampled_from(["a", 1, True, None]), "either": st.dates() | moments | ints,
    "user": ints.map(UserId), "noted": decimals, "point": st.builds(Point, ints, st.dates()),
    "window": st.fixed_dictionaries({"start": moments}, optional={"size": st.timedeltas()}),
    "loose": st.fixed_dictionaries({"n": ints}, optional={"ids": st.sets(st.uuids(), max_size=2)}),
    "names": st.lists(texts, max_size=3),
    "table": st.dictionaries(texts, st.lists(st.dates(), max_size=2), max_size=2),
    "box": st.builds(Box, st.dates(), st.lists(st.dates(), max_size=2)),
    "anything": st.none() | texts | st.lists(ints, max_size=2), "fixed": ints,
}  # fmt: skip


PLAIN = Everything(
    n=1, x=1.5, flag=True, text="x", nothing=None, at=datetime(2024, 1, 2, 3, tzinfo=UTC),
    day=date(2024, 1, 2), clock=time(3, 4), span=timedelta(1), id=UUID(int=1),
    price=Decimal("1.10"), color=Color.PAIR, level=Level.HIGH, word=Word.YES, access=Access.WRITE,
    customer=Customer(1, "x"), maybe=None, old_style=2, ids={1}, frozen=frozenset(),
    prices=[Decimal(1)], pair=(1, date(2024, 1, 2)), row=(UUID(int=2),), by_name={},
    choice=None, either=3, user=UserId(4), noted=Decimal(2), point=Point(1, date(2024, 1, 2)),
    window={"start": datetime(2024, 1, 2)}, loose={"n": 5}, names=["x"], table={},
    box=Box(date(2024, 1, 2)), anything=None,
)  # fmt: skip


# One field at a time is drawn wildly: 36 wild ones at once take a second an example to shrink.
@settings(deadline=None, max_examples=400)
@given(st.sampled_from(sorted(HINTS)).flatmap(lambda name: st.tuples(st.just(name), HINTS[name])))
def test_typed_args_survive_the_round_trip(drawn: tuple[str, Any]) -> None:
    value = replace(PLAIN, **dict([drawn]))

    again = back(value)

    assert again == value
    if drawn[0] not in {"ids", "frozen", "loose"}:  # equal sets may print in another order
        assert repr(again) == repr(value)


def test_type_that_mentions_itself_and_a_later_one() -> None:
    tree = Node("a", [Node("b", [Node("c")])], Later(date(2024, 1, 1)))

    assert back(tree) == tree


def test_type_defined_later_in_its_module() -> None:
    """The decoder is made while a name is unknown, and looks again at its first value."""
    module: dict[str, Any] = {"__name__": __name__}
    exec("from __future__ import annotations\nfrom dataclasses import dataclass", module)
    exec("@dataclass\nclass A:\n    b: NotYetThere\n    n: int", module)
    decode = decoder(module["A"])
    globals()["NotYetThere"] = Customer
    try:
        assert decode({"b": {"id": 1}, "n": 2}) == module["A"](Customer(1), 2)
    finally:
        del globals()["NotYetThere"]


def test_local_types() -> None:
    @dataclass
    class Leaf:
        day: date

    @dataclass
    class Branch:
        leaves: list[Leaf]

    @dataclass
    class Tree:
        branch: Branch
        up: Tree | None = None

    tree = Tree(Branch([Leaf(date(2024, 1, 1))]), Tree(Branch([])))

    assert back(tree) == tree


def local_type_of_a_finished_function() -> type[Any]:
    @dataclass
    class Hidden:
        n: int

    @dataclass
    class Shown:
        hidden: Hidden
        day: date

    return Shown


def test_unknown_name_costs_only_its_own_field() -> None:
    decode = decoder(local_type_of_a_finished_function())

    shown = decode({"hidden": {"n": 1}, "day": "2024-01-02"})

    assert shown.hidden == {"n": 1}
    assert shown.day == date(2024, 1, 2)
    with pytest.raises(ValidationError, match=r"args\.day: expected an ISO 8601 date"):
        decode({"hidden": 1, "day": "no"})


def test_generic_dataclass() -> None:
    @dataclass
    class Boxes:
        plain: Box[int]
        dates: Box[date | None]
        raw: Box  # type: ignore[type-arg] # without a parameter anything goes

    boxes = Boxes(Box(1, [2]), Box(None, [date(2024, 1, 1)]), Box("x", [1]))

    assert back(boxes) == boxes


def test_pydantic_validates_itself() -> None:
    @dataclass
    class Order:
        to: Address
        also: Address | None = None

    address = Address(zip="8000", since=date(2024, 1, 2))

    assert back(address) == address
    assert back(Order(address)) == Order(address)
    with pytest.raises(ValidationError, match=r"args\.to: .*since Field required"):
        decoder(Order)({"to": {"zip": "8000"}})
    with pytest.raises(pydantic.ValidationError):
        decoder(Address)({"zip": 8})


def test_plain_dict_and_typed_dict() -> None:
    assert decoder(dict)({"a": "2024-01-01"}) == {"a": "2024-01-01"}
    assert decoder(dict[str, Any])({"a": 1}) == {"a": 1}
    window = decoder(Window)({"start": "2024-01-01T00:00:00+00:00", "size": 60, "more": 1})
    assert window == {"start": datetime(2024, 1, 1, tzinfo=UTC), "size": timedelta(minutes=1),
                      "more": 1}  # fmt: skip
    assert decoder(Loose)({"n": 1}) == {"n": 1}
    with pytest.raises(ValidationError, match=r"args\.start: missing, Window needs it"):
        decoder(Window)({"size": 1})
    with pytest.raises(ValidationError, match=r"args\.n: missing, Loose needs it"):
        decoder(Loose)({})
    with pytest.raises(ValidationError, match=r"args\.ids\[0\]: expected a UUID, got str"):
        decoder(Loose)({"n": 1, "ids": ["x"]})


def test_fields_with_defaults_and_without_init() -> None:
    @dataclass
    class Job:
        a: int
        twice: int = field(init=False)
        implicit: int = None  # type: ignore[assignment] # written often enough
        made: list[int] = field(default_factory=list)

        def __post_init__(self) -> None:
            self.twice = self.a * 2

    assert back(Job(3)) == Job(3)
    assert decoder(Job)({"a": 3}).twice == 6
    with pytest.raises(ValidationError, match=r"args\.b: Job has no such field"):
        decoder(Job)({"a": 1, "twice": 2, "b": 3})


def test_numbers_of_other_writers() -> None:
    """1e16 comes back from jsonb as an integer, and some writers add .0 to integers."""

    @dataclass
    class Numbers:
        n: int
        x: float
        price: Decimal
        span: timedelta

    decode = decoder(Numbers)

    assert repr(decode({"n": 3.0, "x": 10**16, "price": 1.5, "span": 60})) == repr(
        Numbers(3, 1e16, Decimal("1.5"), timedelta(minutes=1))
    )
    for wrong in ({"n": 3.5}, {"x": 10**400}, {"price": True}, {"span": 1e30}, {"n": None}):
        with pytest.raises(ValidationError, match=rf"args\.{next(iter(wrong))}: expected"):
            decode({"n": 1, "x": 1, "price": 1, "span": 1} | wrong)


@dataclass
class Order:
    customer: Customer
    lines: list[tuple[str, Decimal]] = field(default_factory=list)
    by_day: dict[str, date] = field(default_factory=dict)
    either: int | Customer | None = None
    color: Color = Color.RED
    choice: Literal["a", 1] = "a"
    ids: set[Any] = field(default_factory=set)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ({"customer": {"id": "x"}}, "args.customer.id: expected int, got str"),
        ({"customer": {"id": True, "name": 1}}, "args.customer.name: expected str, got int"),
        ({"customer": {}}, "args.customer.id: missing, Customer needs it"),
        ({}, "args.customer: missing, Order needs it"),
        ({"customer": {"id": 1, "nmae": ""}}, "args.customer.nmae: Customer has no such field"),
        ({"customer": None}, "args.customer: expected an object (Customer), got null"),
        ({"lines": [["a", "1"], ["b", "x"]]}, "args.lines[1][1]: expected a decimal, got str"),
        ({"lines": [["a"]]}, "args.lines[0]: expected an array of 2, got list"),
        ({"lines": {}}, "args.lines: expected an array, got dict"),
        ({"by_day": {"mon": "x"}}, "args.by_day.mon: expected an ISO 8601 date, got str"),
        ({"by_day": []}, "args.by_day: expected an object, got list"),
        ({"either": "x"}, "args.either: expected int or Customer or NoneType, got str"),
        ({"color": "blue"}, "args.color: expected a Color, got str"),
        ({"color": ["red"]}, "args.color: expected a Color, got list"),
        ({"choice": True}, "args.choice: expected one of ['a', 1], got bool"),
        ({"ids": [{}]}, "args.ids: expected values that a set can hold, got list"),
        ([1], "args: expected an object (Order), got list"),
        (None, "args: expected an object (Order), got null"),
    ],
)
def test_mismatch_names_its_path(data: Any, message: str) -> None:
    if isinstance(data, dict) and data and "customer" not in data:
        data = {"customer": {"id": 1}} | data

    with pytest.raises(ValidationError) as caught:
        decoder(Order)(data)

    assert str(caught.value) == message
    assert caught.value.why == "the stored arguments do not fit the handler's type"


def test_errors_of_the_type_itself_stay_as_they_are() -> None:
    @dataclass
    class Even:
        n: int

        def __post_init__(self) -> None:
            if self.n % 2:
                raise LookupError("odd")

    with pytest.raises(LookupError, match="odd"):
        decoder(Even)({"n": 3})


def test_value_given_is_not_changed() -> None:
    data = {"customer": {"id": 1}, "by_day": {"mon": "2024-01-01"}}
    before = json.dumps(data)

    decoder(Order)(data)

    assert json.dumps(data) == before
