"""A module with a leading underscore inside a folder is used in that folder only."""

from __future__ import annotations

import ast
from pathlib import Path

ROOT = Path(__file__).parents[2]


def imported(path: Path) -> set[str]:
    """Return the dotted names that a file imports, of modules and of what is in them."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {one.name for one in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert not node.level, f"{path} has a relative import"
            names |= {f"{node.module}.{one.name}" for one in node.names} | {str(node.module)}
    return names


def test_a_private_module_is_imported_in_its_folder_only() -> None:
    files = {
        path.relative_to(ROOT).with_suffix("").as_posix().replace("/", "."): path
        for package in ("awa_lib", "awa_cli")
        for path in (ROOT / package).rglob("*.py")
    }
    # One at the root of a package is shared by the project.
    private = {
        name
        for name in files
        if name.count(".") > 1 and name.rpartition(".")[2].startswith("_")
        if not name.endswith("__")
    }
    wrong = {
        (importer, name)
        for importer, path in files.items()
        for name in imported(path) & private
        if not importer.startswith(name.rpartition(".")[0] + ".")
    }

    assert private
    assert wrong == set()
