"""A released migration never changes: databases that have run it would not get the change."""

from __future__ import annotations

import hashlib
from pathlib import Path

FOLDER = Path(__file__).resolve().parents[2] / "sql" / "migrations"
LOCK = FOLDER / "released.sha256"


def faults(folder: Path, lock: str) -> list[str]:
    """Return what is wrong with the scripts of a folder, a sentence each."""
    scripts = {
        path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in folder.glob("*/*.sql")
    }
    released = {name: digest for digest, name in (line.split() for line in lock.splitlines())}
    found = []
    for name, digest in sorted(released.items()):
        if name not in scripts:
            found.append(f"{name} was released and is gone: put it back, and add a new script")
        elif scripts[name] != digest:
            found.append(
                f"{name} was released and has changed: undo the change, and add a new script to"
                " sql/migrations/toolkit that makes it"
            )
    found += [
        f"{name} has no line: cd sql/migrations && sha256sum {name} >> {LOCK.name}"
        for name in sorted(scripts.keys() - released.keys())
    ]
    return found


def test_released_scripts_are_as_they_were() -> None:
    assert faults(FOLDER, LOCK.read_text()) == []


def test_every_change_is_found(tmp_path: Path) -> None:
    one, two = tmp_path / "toolkit" / "0001_a.sql", tmp_path / "toolkit" / "0002_b.sql"
    one.parent.mkdir()
    one.write_text("SELECT 1")
    lock = f"{hashlib.sha256(b'SELECT 1').hexdigest()}  toolkit/0001_a.sql\n"
    assert faults(tmp_path, lock) == []
    two.write_text("SELECT 2")
    (missing,) = faults(tmp_path, lock)
    two.unlink()
    one.write_text("SELECT 1;")
    (changed,) = faults(tmp_path, lock)
    one.unlink()
    (gone,) = faults(tmp_path, lock)

    assert "0002_b.sql has no line" in missing
    assert "0001_a.sql was released and has changed: undo the change, and add a new" in changed
    assert "0001_a.sql was released and is gone" in gone
