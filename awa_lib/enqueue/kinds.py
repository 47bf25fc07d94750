"""The kind of a job: a name derived from the type of its arguments."""

from __future__ import annotations

from types import FunctionType
from typing import Any, Final, get_origin

from awa_lib.errors import ValidationError

__all__ = ["derive_kind", "kind_of", "kind_of_type"]

_LONGEST: Final = 200


def derive_kind(name: str) -> str:
    """Return the snake_case kind of a CamelCase type name.

    >>> derive_kind("SMTPEmail"), derive_kind("ProcessV2Import"), derive_kind("HTMLToPDF")
    ('smtp_email', 'process_v2_import', 'html_to_pdf')
    """
    out: list[str] = []
    for index, char in enumerate(name):
        if not char.isupper():
            out.append(char)
            continue
        if index:
            before = name[index - 1]
            after = name[index + 1 : index + 2]
            digit = before.isascii() and before.isdigit()
            if before.islower() or digit or (before.isupper() and after.islower()):
                out.append("_")
        # Letter by letter, as awa 0.5 does: lower() of a word turns a final sigma into another
        # letter, and U+0130 into two.
        out.append(char.lower()[0])
    return "".join(out)


def kind_of(args: Any, kind: str | None = None) -> str:
    """Return the given kind, or that of an args type or object.  Raises ValidationError."""
    if kind is None:
        owner = args if isinstance(args, type) else type(args)
        kind = derive_kind(owner.__name__)
    if not isinstance(kind, str) or not kind or len(kind) > _LONGEST or "\x00" in kind:
        raise ValidationError(f"kind must be 1 to {_LONGEST} characters of text, got {kind!r}")
    return kind


def kind_of_type(args_type: Any, kind: str | None = None) -> str:
    """Return the given kind, or that of an args type.

    Raises ValidationError, and TypeError if the argument is not a type.
    """
    if isinstance(args_type, str):
        raise TypeError(
            f"the first argument is the type of the args, got {args_type!r};"
            f" for dict args give dict, kind={args_type!r}"
        )
    if isinstance(args_type, FunctionType):
        raise TypeError(
            "the first argument is the type of the args, got a function:"
            f" write @client.task(ArgsType) above {args_type.__name__}"
        )
    named = hasattr(args_type, "__supertype__") or hasattr(args_type, "__value__")
    if not isinstance(args_type, type) and get_origin(args_type) is None and not named:
        raise TypeError(f"the first argument is the type of the args, got {args_type!r}")
    return kind_of(args_type, kind)
