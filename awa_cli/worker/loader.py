"""Import what a command line names by MODULE:NAME: the client of a worker, a function."""

from __future__ import annotations

import importlib
import inspect
import os
import sys
import traceback
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from awa_lib.errors import InvalidInput
from awa_lib.validation import did_you_mean, nearest

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import ModuleType

    from awa_lib.client.clients import AsyncClient

__all__ = ["load_client", "load_function"]


def load_client(place: str) -> AsyncClient:
    """Import MODULE:CLIENT, with the working directory first on the path.

    Raises InvalidInput.  An error in the user's own code is printed first, with the traceback from
    the first line of that code.
    """
    module, path = _load(
        place,
        "a client",
        "MODULE:CLIENT",
        hint="for myapp/jobs.py with client = AsyncClient(…): awa worker myapp.jobs:client",
        unset="set DATABASE_URL, or pass --database-url, which sets it for the module",
    )
    return _pick(module, path)


def load_function(place: str, option: str) -> Callable[..., Any]:
    """Import MODULE:FUNCTION, which ``option`` names.  Raises InvalidInput as ``load_client``."""
    module, path = _load(
        place,
        "a function",
        "MODULE:FUNCTION",
        hint=f"for def check(…) in myapp/hooks.py: {option} myapp.hooks:check",
        unset="set DATABASE_URL",
    )
    names = [key for key, value in vars(module).items() if inspect.isfunction(value)]
    found = _find(module, path, did_you_mean(path, names, f"{option} {module.__name__}:"))
    if not callable(found):
        raise InvalidInput(
            f"{place} is a {type(found).__name__}, not a function",
            hint=f"name a function: {option} {module.__name__}:FUNCTION",
        )
    return found  # type: ignore[no-any-return] # callable


def _load(place: str, what: str, form: str, *, hint: str, unset: str) -> tuple[ModuleType, str]:
    """Return the module, and the name in it; ``unset`` is the hint if it needs a database URL."""
    module_name, colon, path = place.partition(":")
    if not colon or not module_name or not path or "/" in place or module_name.endswith(".py"):
        raise InvalidInput(
            f"{place!r} does not name {what}",
            why=f"the form is {form}, with the dotted name of the module",
            hint=hint,
        )
    if os.getcwd() not in sys.path:  # noqa: PTH109 - a string, as in sys.path
        sys.path.insert(0, os.getcwd())  # noqa: PTH109 - as above
    _set_up_django()
    return _import(module_name, unset), path


def _set_up_django() -> None:
    """Set up Django, if its settings are named and it is installed.  Raises InvalidInput."""
    settings = os.environ.get("DJANGO_SETTINGS_MODULE")
    if not settings or find_spec("django") is None:
        return
    import django

    try:
        django.setup()
    except Exception as error:  # noqa: BLE001 - settings and apps may raise anything
        _show(error)
        raise InvalidInput(
            f"Django cannot be set up with DJANGO_SETTINGS_MODULE={settings!r}",
            why=f"{type(error).__name__}: {error}",
            hint="fix it, or unset DJANGO_SETTINGS_MODULE; to reproduce it: "
            "python -c 'import django; django.setup()'",
        ) from None


def _import(name: str, hint_unset: str) -> ModuleType:
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name and (name == error.name or name.startswith(error.name + ".")):
            raise InvalidInput(
                f"cannot import module {name!r}",
                why=f"no module {error.name!r} in {Path.cwd()} or in the installed packages",
                hint="run the command in the directory of the package, or install the package",
            ) from None
        _show(error)
        raise InvalidInput(
            f"cannot import module {name!r}",
            why=f"it imports {error.name!r}, which is not installed",
            hint=f"install it for {sys.executable}",
        ) from None
    except Exception as error:  # noqa: BLE001 - the module may raise anything
        _show(error)
        unset = isinstance(error, KeyError) and error.args == ("DATABASE_URL",)
        raise InvalidInput(
            f"cannot import module {name!r}",
            why=f"{type(error).__name__}: {error}",
            hint=hint_unset if unset else f"fix it; to reproduce it: python -c 'import {name}'",
        ) from None


def _show(error: Exception) -> None:
    """Print the traceback from the first frame that is neither ours nor the import system's."""
    frames = error.__traceback__
    mine = {__file__, importlib.__file__}
    while frames is not None:
        file = frames.tb_frame.f_code.co_filename
        if file not in mine and not file.startswith("<frozen importlib"):
            break
        frames = frames.tb_next
    # In one write, which is one object in JSON.
    sys.stderr.write("".join(traceback.format_exception(error.with_traceback(frames))))


def _find(module: ModuleType, path: str, hint: str | None) -> Any:
    found: Any = module
    for part in path.split("."):
        if not hasattr(found, part):
            raise InvalidInput(
                f"module {module.__name__!r} has no {path!r}",
                why=f"the module is {module.__file__}",
                hint=hint,
            )
        found = getattr(found, part)
    return found


def _pick(module: ModuleType, path: str) -> AsyncClient:
    from awa_lib.client.clients import AsyncClient, Client

    name = module.__name__
    hint = _candidates(module, name, path, AsyncClient)
    found = _find(module, path, hint)
    if isinstance(found, AsyncClient):
        return found
    kind = "a blocking Client" if isinstance(found, Client) else f"a {type(found).__name__}"
    raise InvalidInput(
        f"{name}:{path} is {kind}, not an AsyncClient",
        why="a worker needs an AsyncClient; its handlers may be async or plain functions",
        hint=hint,
    )


def _candidates(module: ModuleType, name: str, path: str, client_type: type[Any]) -> str:
    clients = [key for key, value in vars(module).items() if isinstance(value, client_type)]
    if clients:
        return f"did you mean: awa worker {name}:{nearest(path, clients, cutoff=0.3) or clients[0]}"
    return "create one at the top of the module: client = awa_lib.AsyncClient(database_url)"
