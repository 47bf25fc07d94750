"""The kind of a job: a name derived from the type of its args, and what is declared for it."""

from __future__ import annotations

from functools import lru_cache
from inspect import isasyncgenfunction, iscoroutinefunction, isgeneratorfunction
from types import FunctionType
from typing import TYPE_CHECKING, Any, Final, TypeVar, get_origin

from awa_lib.codec.job_results import ResultOptions, returned_type
from awa_lib.enqueue.options import InsertOptions, KindOptions, checked, complete, merged
from awa_lib.errors import ValidationError
from awa_lib.validation import takes

if TYPE_CHECKING:
    from collections.abc import Callable, Collection
    from datetime import timedelta
    from typing import Unpack

    from awa_lib.enqueue.options import InsertMiddleware

__all__ = ["Kinds", "derive_kind", "is_args_type", "kind_of", "kind_of_type"]

F = TypeVar("F", bound="InsertMiddleware")

_LONGEST: Final = 200


@lru_cache(maxsize=1000)
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
    if not is_args_type(args_type):
        raise TypeError(f"the first argument is the type of the args, got {args_type!r}")
    return kind_of(args_type, kind)


def is_args_type(value: object) -> bool:
    """Return whether a value is a type that args can have: a class, or an alias of a type."""
    named = hasattr(value, "__supertype__") or hasattr(value, "__value__")
    return isinstance(value, type) or get_origin(value) is not None or named


class Kinds:
    """The options with which jobs are inserted, declared by kind, and the insert middleware.

    Clients share one object when it is given to each of them: ``Client(url, kinds=kinds)``.
    """

    def __init__(self) -> None:
        self._options: dict[str, InsertOptions] = {}
        self._names: dict[type, set[str]] = {}
        self.results: dict[str, ResultOptions] = {}
        """How results are kept, of kinds that keep them."""
        self._handlers: dict[str, Callable[..., Any]] = {}
        self.insert_functions: tuple[InsertMiddleware, ...] = ()
        """What ``insert_middleware`` registered, in order."""
        self.known: dict[tuple[Any, ...], Any] = {}
        """What ``check_one`` remembers until the next declaration."""

    def declare(
        self, args_type: type[Any], kind: str | None = None, **options: Unpack[KindOptions]
    ) -> str:
        """Declare options of a kind and return its name; later ones are added to earlier ones.

        The kind is derived from ``args_type`` unless given.  ``result`` is True, or the type of the
        results, for a kind that keeps them: for ``result_ttl`` seconds (or a timedelta, or text
        like ``'30d'``; by default 7 days) and up to ``result_max_bytes`` of JSON (by default
        1,048,576).  False ends that.  Raises ValidationError, TypeError.
        """
        name = kind_of_type(args_type, kind)
        kept = self._kept(
            name,
            options.pop("result", None),
            options.pop("result_ttl", None),
            options.pop("result_max_bytes", None),
        )
        given: Any = {key: value for key, value in options.items() if value is not None}
        checked(complete(given), {})
        self._options[name] = merged(self._options.get(name, {}), given)
        if isinstance(args_type, type) and args_type is not dict:
            self._names.setdefault(args_type, set()).add(name)
        if kept is None:
            self.results.pop(name, None)
        else:
            self.results[name] = kept
        # A new dict, and last: a thread that still checks with the older options fills the old one.
        self.known = {}
        return name

    def _kept(
        self, name: str, result: Any, ttl: float | str | timedelta | None, max_bytes: int | None
    ) -> ResultOptions | None:
        known = self.results.get(name)
        if result is False or (result is None and known is None):
            if ttl is not None or max_bytes is not None:
                raise ValidationError(
                    "result_ttl and result_max_bytes need a kind that keeps results",
                    hint="add result=True",
                )
            return None
        kept = (known or ResultOptions()).merged(result, ttl, max_bytes)
        handler = self._handlers.get(name)
        if kept.result_type is not None or handler is None:
            return kept
        return kept.of_type(returned_type(handler))

    def handled_by(self, name: str, handler: Callable[..., Any]) -> None:
        """Remember the handler of a kind, whose results have the type it returns unless told.

        Raises TypeError for a type that JSON cannot be decoded into.
        """
        self._handlers[name] = handler
        if (kept := self._kept(name, None, None, None)) is not None:
            self.results[name] = kept

    @property
    def declared(self) -> Collection[str]:
        """The kinds that are declared."""
        return self._options.keys()

    def insert_middleware(self, function: F) -> F:
        """Register a function that the jobs of each insert go through, and return it.

        It gets the jobs of a call as ``NewJob`` objects with every option set, and returns as
        many: the same, or changed copies (``dataclasses.replace``).  An error that it raises
        refuses the insert.  It is called once for each call of ``insert``, ``enqueue`` and
        ``insert_many``, for 5000 jobs of ``enqueue_many_copy``, for a follow-up, and for a
        schedule when that is declared and when the worker starts; not for retries.  It runs in the
        caller's thread or event loop before a connection is used, so it must not wait.  Several
        run in the order of their declaration.  Raises TypeError for a coroutine function.
        """
        if not callable(function) or not takes(function, 1):
            raise TypeError(f"an insert middleware must take a list of jobs, got {function!r}")
        if _waits(function):
            raise TypeError(
                f"an insert middleware must be a plain function, got {function!r}:"
                " blocking clients call it too"
            )
        self.insert_functions = (*self.insert_functions, function)
        return function

    def options(self, kind: str) -> InsertOptions:
        """Return what is declared for a kind: nothing for an unknown one."""
        return self._options.get(kind, {})

    def name_of(self, args: Any, kind: str | None) -> str:
        """Return the given kind, that declared for the type of the args, or the derived one.

        A type that several kinds were declared with has none.  Raises ValidationError.
        """
        if kind is None and len(names := self._names.get(type(args), ())) == 1:
            return next(iter(names))
        return kind_of(args, kind)

    def decorator(self, kind: str) -> str:
        """Return the decorator of a handler whose kind keeps results."""
        for args_type, names in self._names.items():
            if names == {kind} and derive_kind(args_type.__name__) == kind:
                return f"@client.task({args_type.__name__}, result=True)"
        return f"@client.task(…, kind={kind!r}, result=True)"


def _waits(function: Callable[..., Any]) -> bool:
    return any(
        check(function) for check in (iscoroutinefunction, isgeneratorfunction, isasyncgenfunction)
    )


UNDECLARED: Final = Kinds()
"""Of clients that know no kinds."""
