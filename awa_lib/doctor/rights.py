"""Check roles and their rights."""

from __future__ import annotations

from itertools import groupby
from typing import TYPE_CHECKING, Final

from awa_lib._sql import sql
from awa_lib.doctor.finding import Finding, Severity, advise, relation
from awa_lib.schema.roles import PURPOSES, RIGHTS

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from awa_lib.doctor.facts import RoleRight, RoleRights

__all__ = ["fitting", "public", "superuser"]

# Rights that a finding names; it counts the others.
_LISTED: Final = 3


def superuser(rights: RoleRights) -> Iterator[Finding]:
    """Find workers with unlimited rights."""
    for role in rights.roles:
        if role.works and (role.superuser or role.owns):
            yield Finding(
                "superuser",
                Severity.warning,
                f"workers run as {role.role}, "
                + ("a superuser" if role.superuser else "the owner of the schema"),
                "a handler with an SQL injection can then read and change everything",
                "awa roles",
                role.role,
            )


def public(rights: RoleRights) -> Iterator[Finding]:
    """Find rights of PUBLIC."""
    for (kind, name), group in groupby(
        _of(rights.held, "PUBLIC"), key=lambda right: (right.kind, right.object)
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
            f"PUBLIC has {_privileges(group)} on {name}",
            "every role of this server has it, and the function runs with its owner's rights"
            if called
            else "every role of this server has it",
            do,
            name,
        )


def fitting(rights: RoleRights) -> Iterator[Finding]:
    """Find roles with fewer or more rights than their purpose needs."""
    yield from _lack(rights)
    yield from _excess(rights)


def _lack(rights: RoleRights) -> Iterator[Finding]:
    for role in rights.roles:
        missing = _of(rights.missing, role.role)
        if not missing or role.purpose is None:
            continue
        # For the role of this session a note is enough: the doctor runs with fewer rights.
        needed = role.works or not role.own
        yield Finding(
            "rights",
            Severity.error if role.works else Severity.warning if needed else Severity.note,
            f"the role {role.role} lacks rights: {_listed(missing)}",
            f"{role.purpose} is for {PURPOSES[role.purpose]}",
            f"awa roles --apply{_prefix(role.owner)}" if needed else "awa roles",
            role.role,
        )


def _excess(rights: RoleRights) -> Iterator[Finding]:
    for role in rights.roles:
        # A role that is not named after a purpose may have rights for other uses.
        if role.purpose is None or not role.role.endswith(role.purpose) or role.superuser:
            continue
        fair = {
            (right.kind, right.object, right.privilege, right.column)
            for right in RIGHTS
            if right.purpose == role.purpose
        }
        ours = {right.object for right in RIGHTS}
        more = [
            right
            for right in _of(rights.held, role.role)
            if right.object in ours
            and (right.kind, right.object, right.privilege, right.column_name) not in fair
        ]
        if more:
            yield Finding(
                "rights",
                Severity.warning,
                f"the role {role.role} has rights beyond its purpose: {_listed(more)}",
                f"{role.purpose} is for {PURPOSES[role.purpose]}",
                f"awa roles --apply{_prefix(role.owner)}",
                role.role,
            )


def _of(rights: Iterable[RoleRight], role: str) -> list[RoleRight]:
    return [right for right in rights if right.role == role]


def _privileges(rights: Iterable[RoleRight]) -> str:
    return " and ".join(sorted({right.privilege for right in rights}))


def _listed(rights: list[RoleRight]) -> str:
    texts = [
        f"{right.privilege} on {right.object}"
        + (f".{right.column_name}" if right.column_name else "")
        for right in sorted(rights)
    ]
    more = len(texts) - _LISTED
    return ", ".join(texts[:_LISTED]) + (f" and {more} more" if more > 0 else "")


def _prefix(owner: str) -> str:
    prefix = owner.removesuffix("owner")
    return f" --prefix {prefix}" if owner.endswith("owner") and prefix != "awa_" else ""
