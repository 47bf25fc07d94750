"""The checks of roles and their rights."""

from __future__ import annotations

from itertools import groupby
from typing import TYPE_CHECKING

from awa_lib._sql import sql
from awa_lib.doctor.finding import Finding, Severity, advise, relation
from awa_lib.schema.roles import PURPOSES, RIGHTS

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from awa_lib.doctor.facts import Held, RoleRights

__all__ = ["fitting", "public", "superuser"]


def superuser(rights: RoleRights) -> Iterator[Finding]:
    """Find workers that could do anything."""
    for role in rights.roles:
        if role.works and (role.superuser or role.owns):
            yield Finding(
                "superuser",
                Severity.warning,
                f"workers run as {role.role}, "
                + ("a superuser" if role.superuser else "the owner of the schema"),
                "a handler that is made to run foreign SQL can do anything with it",
                "awa roles",
                role.role,
            )


def public(rights: RoleRights) -> Iterator[Finding]:
    """Find rights of everybody."""
    for (kind, name), group in groupby(
        _of(rights.held, "PUBLIC"), key=lambda one: (one.kind, one.object)
    ):
        called = kind == "function"
        do = (
            advise(sql.advice("revoke_public_function"), function=relation(name))
            if called
            else advise(sql.advice("revoke_public"), table=relation(name))
        )
        yield Finding(
            "public",
            Severity.warning,
            f"everybody may {_may(group)} {name}",
            "it acts with the rights of its owner"
            if called
            else "it is granted to PUBLIC: every role of this server has it",
            do,
            name,
        )


def fitting(rights: RoleRights) -> Iterator[Finding]:
    """Find roles that have less or more than their purpose takes."""
    yield from _lack(rights)
    yield from _excess(rights)


def _lack(rights: RoleRights) -> Iterator[Finding]:
    for role in rights.roles:
        missing = [one for one in rights.missing if one.role == role.role]
        if not missing or role.purpose is None:
            continue
        # Somebody who looks with the rights of a producer knows.
        needed = role.works or not role.own
        yield Finding(
            "rights",
            Severity.error if role.works else Severity.warning if needed else Severity.note,
            f"the role {role.role} lacks rights: {_few(missing)}",
            f"{role.purpose} is for {PURPOSES[role.purpose]}",
            f"awa roles --apply{_prefix(role.owner)}" if needed else "awa roles",
            role.role,
        )


def _excess(rights: RoleRights) -> Iterator[Finding]:
    for role in rights.roles:
        # What a role is used for says what it needs, but not what else it may have.
        if role.purpose is None or not role.role.endswith(role.purpose) or role.superuser:
            continue
        fair = {
            (right.kind, right.object, right.privilege, right.column)
            for right in RIGHTS
            if right.purpose == role.purpose
        }
        ours = {right.object for right in RIGHTS}
        more = [
            one
            for one in _of(rights.held, role.role)
            if one.object in ours
            and (one.kind, one.object, one.privilege, one.column_name) not in fair
        ]
        if more:
            yield Finding(
                "rights",
                Severity.warning,
                f"the role {role.role} has rights beyond its purpose: {_few(more)}",
                f"{role.purpose} is for {PURPOSES[role.purpose]}",
                f"awa roles --apply{_prefix(role.owner)}",
                role.role,
            )


def _of(held: Iterable[Held], role: str) -> list[Held]:
    return [one for one in held if one.role == role]


def _may(held: Iterable[Held]) -> str:
    return " and ".join(sorted({one.privilege for one in held}))


def _few(held: list[Held]) -> str:
    shown = [
        f"{one.privilege} on {one.object}" + (f".{one.column_name}" if one.column_name else "")
        for one in sorted(held)
    ]
    rest = f" and {len(shown) - 3} more" if len(shown) > 3 else ""  # noqa: PLR2004 - to begin with
    return ", ".join(shown[:3]) + rest


def _prefix(owner: str) -> str:
    prefix = owner.removesuffix("owner")
    return f" --prefix {prefix}" if owner.endswith("owner") and prefix != "awa_" else ""
