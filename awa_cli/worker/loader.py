"""Find the client that ``awa worker MODULE:CLIENT`` names."""

from __future__ import annotations

import importlib
import os
import sys
import traceback
from difflib import get_close_matches
from typing import TYPE_CHECKING, Any

from awa_lib.errors import InvalidInput

if TYPE_CHECKING:
    from types import ModuleType

    from awa_lib.client.clients import AsyncClient

__all__ = ["load_client"]


def load_client(place: str) -> AsyncClient:
    """Import MODULE:CLIENT, with the working directory first on the path.

    Raises InvalidInput that names what was tried.  A failure inside the user's own code is shown
    first, from the first line of theirs.
    """
    module_name, colon, path = place.partition(":")
    if not colon or not module_name or not path or "/" in place or module_name.endswith(".py"):
        raise InvalidInput(
            f"{place!r} does not name a client",
            why="it must be the dotted name of a module, a colon, and the name of the client in it",
            hint="for myapp/jobs.py with client = AsyncClient(…): awa worker myapp.jobs:client",
        )
    if os.getcwd() not in sys.path:  # noqa: PTH109 - compared with strings
        sys.path.insert(0, os.getcwd())  # noqa: PTH109
    return _pick(_import(module_name), module_name, path)


def _import(name: str) -> ModuleType:
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name and (name == error.name or name.startswith(error.name + ".")):
            raise InvalidInput(
                f"cannot import module {name!r}",
                why=f"there is no module {error.name!r} in {os.getcwd()} "  # noqa: PTH109
                "or among the installed packages",
                hint="run it where the package is, or install the package",
            ) from None
        _show(error)
        raise InvalidInput(
            f"module {name!r} failed when it was imported",
            why=f"it imports {error.name!r}, which is not installed",
            hint=f"install it for {sys.executable}",
        ) from None
    except Exception as error:  # noqa: BLE001 - whatever the user's module raises
        _show(error)
        unset = isinstance(error, KeyError) and error.args == ("DATABASE_URL",)
        raise InvalidInput(
            f"module {name!r} failed when it was imported",
            why=f"{type(error).__name__}: {error}",
            hint="set DATABASE_URL, or pass --database-url, which sets it for the module"
            if unset
            else f"mend it; to see it alone: python -c 'import {name}'",
        ) from None


def _show(error: Exception) -> None:
    """Print the traceback from the first frame that is neither ours nor the import machinery's."""
    frames = error.__traceback__
    mine = {__file__, importlib.__file__}
    while frames is not None:
        file = frames.tb_frame.f_code.co_filename
        if file not in mine and not file.startswith("<frozen importlib"):
            break
        frames = frames.tb_next
    traceback.print_exception(error.with_traceback(frames))


def _pick(module: ModuleType, name: str, path: str) -> AsyncClient:
    from awa_lib.client.clients import AsyncClient, Client

    found: Any = module
    for part in path.split("."):
        if not hasattr(found, part):
            raise InvalidInput(
                f"module {name!r} has no {path!r}",
                why=f"it was found at {module.__file__}",
                hint=_candidates(module, name, path, AsyncClient),
            )
        found = getattr(found, part)
    if isinstance(found, AsyncClient):
        return found
    kind = "a blocking Client" if isinstance(found, Client) else f"a {type(found).__name__}"
    raise InvalidInput(
        f"{name}:{path} is {kind}, not an AsyncClient",
        why="workers run on an AsyncClient, whose handlers may be async or plain functions",
        hint=_candidates(module, name, path, AsyncClient),
    )


def _candidates(module: ModuleType, name: str, path: str, client_type: type[Any]) -> str:
    clients = [key for key, value in vars(module).items() if isinstance(value, client_type)]
    best = get_close_matches(path, clients, n=1, cutoff=0.3) or clients[:1]
    if best:
        return f"did you mean: awa worker {name}:{best[0]}"
    return "make one at the top of the module: client = awa_lib.AsyncClient(database_url)"
