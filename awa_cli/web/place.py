"""The place of this server in the paths of a site: below a proxy's prefix, or a mount point.

Servers, frameworks and proxies disagree on whether ``path`` contains ``root_path``.  Behind the
guard it always does, and so does ``raw_path``: nothing else needs to find out.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final
from urllib.parse import quote, unquote

from awa_cli.web.prefix import is_below
from awa_cli.web.problems import Refused
from awa_cli.web.scope import PATH, ROOT

if TYPE_CHECKING:
    from collections.abc import Iterator

    from starlette.types import Scope

__all__ = ["placed", "raw_below"]

# What browsers send as it is.  A ";" or "," would end the path of a cookie.
_SAFE: Final = "/!$&'()*+=:@"


def placed(scope: Scope, prefix: str = "") -> Scope:
    """Return a copy of a request's scope in which all paths start with ``root_path``.

    ``prefix`` is put before ``root_path``, whether or not the proxy removed it from the path.
    Raises Refused for a mount point that would lead to another host.
    """
    mount, path, raw = _split(scope)
    if prefix and is_below(path, prefix):
        path, raw = path[len(prefix) :], raw_below(raw, prefix)
    root = mount if is_below(mount, prefix) else prefix + mount
    if root.startswith("//"):
        raise Refused(404, "there is nothing at this path")
    address = quote(root, safe=_SAFE)
    return {
        **scope,
        "root_path": root,
        "path": root + (path or "/"),
        "raw_path": address.encode() + (raw or b"/"),
        ROOT: address,
        PATH: path or "/",
    }


def _split(scope: Scope) -> tuple[str, str, bytes]:
    """Return the mount point, the path below it, and the same path as it was sent."""
    path: str = scope["path"]
    raw: bytes = (scope.get("raw_path") or b"").partition(b"?")[0]
    if unquote(raw.decode("latin-1")) != path:
        # A server without raw_path, or a middleware that changed the path alone.
        raw = quote(path).encode()
    mount = scope.get("root_path", "").rstrip("/")
    if mount and not mount.startswith("/"):
        mount = f"/{mount}"
    for seen in _seen(scope, mount):
        if is_below(path, seen):
            return mount, path[len(seen) :], raw_below(raw, seen)
    return mount, path, raw


def _seen(scope: Scope, mount: str) -> Iterator[str]:
    """Give the forms of the mount point that a path may start with."""
    yield mount
    # FastAPI(root_path="/proxy") does not add it to the path, but mounts below it lengthen
    # root_path all the same.
    above = scope.get("app_root_path", "").rstrip("/")
    if above and is_below(mount, above):
        yield mount[len(above) :]


def raw_below(raw: bytes, root: str) -> bytes:
    """Return what follows the decoded ``root`` in a path as it was sent; ``%2F`` does not split."""
    # A character has up to four bytes, and an encoded byte three characters.
    longest = 12 * len(root)
    end = 0 if root else -1
    while 0 <= end <= longest:
        end = raw.find(b"/", end + 1)
        if unquote(raw[: end if end >= 0 else None].decode("latin-1")) == root:
            return raw[end:] if end >= 0 else b""
    return raw
