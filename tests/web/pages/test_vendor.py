"""What others wrote is there byte for byte, with its licence."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from awa_cli.web.pages._static import FOLDER

OURS = Path(__file__).parent / "vendor"


@pytest.mark.parametrize("folder", [FOLDER / "vendor", OURS], ids=["served", "tests"])
def test_every_file_is_the_one_of_the_manifest(folder) -> None:
    lines = (folder / "MANIFEST.sha256").read_text().splitlines()
    wanted = {name: digest for digest, name in (line.split() for line in lines)}

    found = {
        path.name: hashlib.sha256(path.read_bytes()).hexdigest()
        for path in folder.iterdir()
        if path.name not in {"MANIFEST.sha256", "VERSIONS"}
    }

    assert found == wanted


@pytest.mark.parametrize("folder", [FOLDER / "vendor", OURS], ids=["served", "tests"])
def test_every_file_has_a_version_and_a_licence(folder) -> None:
    lines = [line.split() for line in (folder / "VERSIONS").read_text().splitlines()]
    code = {path.name for path in folder.iterdir() if path.suffix in {".js", ".css"}}

    assert {line[0] for line in lines} == code
    for name in code:
        assert (folder / f"{name.partition('.')[0]}.LICENSE").is_file()
