"""Output formats: parse ``-o``, and write rows as data."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Final

from awa_cli.documents.encoding import encode, encode_shallow

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

__all__ = [
    "Format",
    "Shape",
    "field_of",
    "read_columns",
    "read_shape",
    "without_controls",
    "write_data",
]


class Format(StrEnum):
    """An output format of rows."""

    table = "table"
    wide = "wide"
    json = "json"
    ndjson = "ndjson"
    yaml = "yaml"
    csv = "csv"
    ids = "ids"
    template = "template"


@dataclass(frozen=True, slots=True)
class Shape:
    """A format, with the text of a template."""

    format: Format = Format.table
    template: str = ""

    @property
    def for_people(self) -> bool:
        """Return True for tables."""
        return self.format in {Format.table, Format.wide}


_ESCAPES: Final = {"\\n": "\n", "\\t": "\t", "\\\\": "\\", "{{": "{", "}}": "}"}
_CONTROLS: Final = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")
_TOKEN: Final = re.compile(r"\\[nt\\]|\{\{|\}\}|\{([^{}]*)\}")


def read_shape(text: Any) -> Shape:
    """Read ``-o``: a format, or ``template=TEXT`` with ``{field}`` in it."""
    from awa_lib.errors import InvalidInput
    from awa_lib.validation import nearest, one_line

    if isinstance(text, Shape):
        return text
    name, equals, rest = str(text).partition("=")
    known = [str(item) for item in Format if item is not Format.template]
    if name == Format.template and equals:
        return Shape(Format.template, rest)
    if name in known and not equals:
        return Shape(Format(name))
    forms = {item: item for item in known} | {"template": "template='{id}'"}
    near = nearest(name.lower(), forms, cutoff=0.5)
    raise InvalidInput(
        f"unknown output format: {one_line(str(text))}",
        why=f"formats are {', '.join(known)}, template=TEXT",
        hint=None if near is None else f"did you mean: -o {forms[near]}",
    )


def read_columns(text: str | None) -> list[str]:
    """Read ``--columns``: names of fields, separated by commas."""
    return [name for name in (text or "").replace(" ", "").split(",") if name]


def field_of(row: dict[str, Any], path: str) -> Any:
    """Return a field of an encoded row, or a part of it: ``args.customer``, ``tags.0``.

    Returns None for a missing part.  Raises InvalidInput for an unknown field.
    """
    name, *parts = path.split(".")
    if name not in row:
        from awa_lib.errors import InvalidInput
        from awa_lib.validation import did_you_mean

        raise InvalidInput(
            f"unknown field {name!r}",
            why="fields are " + ", ".join(row),
            hint=did_you_mean(name, row, cutoff=0.5),
        )
    value = row[name]
    for part in parts:
        if isinstance(value, dict):
            value = value.get(part)
        elif isinstance(value, list) and re.fullmatch(r"[0-9]{1,9}", part):
            value = value[int(part)] if int(part) < len(value) else None
        else:
            return None
    return value


def write_data(
    rows: Iterable[Any],
    shape: Shape,
    columns: Sequence[str],
    write: Callable[[str], None],
    *,
    ascii_only: bool,
    at_terminal: bool,
) -> int:
    """Write rows one by one, in constant memory; return their number.

    ``at_terminal`` escapes the control characters of the data; a template may have its own.
    """
    count = 0
    own = shape.format is Format.template

    def counted() -> Iterable[Any]:
        nonlocal count
        for row in rows:
            count += 1
            if at_terminal and own:
                yield _tame(encode(row))
            else:
                yield row if shape.format is Format.ndjson else encode(row)

    def tamed(text: str) -> None:
        write(without_controls(text))

    put = tamed if at_terminal and not own else write
    _WRITERS[shape.format](counted(), shape, columns, put, ascii_only)
    return count


def without_controls(text: str) -> str:
    """Escape control characters but line ends and tabs as JSON does."""
    return _CONTROLS.sub(lambda found: f"\\u{ord(found[0]):04x}", text)


def _tame(value: Any) -> Any:
    if isinstance(value, str):
        return without_controls(value)
    if isinstance(value, dict):
        return {name: _tame(one) for name, one in value.items()}
    return [_tame(one) for one in value] if isinstance(value, list) else value


def _json(rows: Any, _: Shape, __: Any, write: Any, ascii_only: bool) -> None:
    before = "["
    for row in rows:
        text = json.dumps(row, indent=2, ensure_ascii=ascii_only)
        write(before + "\n  " + text.replace("\n", "\n  "))
        before = ","
    write("[]\n" if before == "[" else "\n]\n")


def _ndjson(rows: Any, _: Shape, __: Any, write: Any, ascii_only: bool) -> None:
    # One encoder for all rows is twice as fast as json.dumps; it walks plain values itself.
    text = json.JSONEncoder(
        separators=(",", ":"), ensure_ascii=ascii_only, check_circular=False, default=encode_shallow
    ).encode
    for row in rows:
        write(text(row) + "\n")


def _yaml(rows: Any, _: Shape, __: Any, write: Any, ascii_only: bool) -> None:
    import yaml

    empty = True
    for row in rows:  # consecutive lists of one row form one list
        write(yaml.safe_dump([row], sort_keys=False, allow_unicode=not ascii_only))
        empty = False
    if empty:
        write("[]\n")


def _csv(rows: Any, _: Shape, columns: Sequence[str], write: Any, __: bool) -> None:
    import csv

    writer = None
    for row in rows:
        names = columns or list(row)
        if writer is None:
            writer = csv.writer(_Sink(write), lineterminator="\n")
            writer.writerow(names)
        writer.writerow([_cell(field_of(row, name)) for name in names])


class _Sink:
    def __init__(self, write: Callable[[str], None]) -> None:
        self.write = write


def _cell(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, str):
        return value
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False)


def _ids(rows: Any, _: Shape, __: Any, write: Any, ___: bool) -> None:
    # The first field of every read model identifies it.
    for row in rows:
        write(f"{next(iter(row.values()))}\n")


def _template(rows: Any, shape: Shape, __: Any, write: Any, ___: bool) -> None:
    for row in rows:

        def fill(match: re.Match[str], row: dict[str, Any] = row) -> str:
            path = match[1]
            return _ESCAPES[match[0]] if path is None else _cell(field_of(row, path))

        write(_TOKEN.sub(fill, shape.template) + "\n")


_WRITERS: Final[dict[Format, Callable[..., None]]] = {
    Format.json: _json,
    Format.ndjson: _ndjson,
    Format.yaml: _yaml,
    Format.csv: _csv,
    Format.ids: _ids,
    Format.template: _template,
}
