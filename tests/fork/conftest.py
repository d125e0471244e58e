"""Photographs in databases, made once and only read."""

from pathlib import Path

import pytest

from tests.helpers.augmentation import ENCODERS, PHOTOGRAPHS, encoded, photograph_datum
from tests.helpers.photographs import photograph, write_lmdb


@pytest.fixture(scope="session")
def databases(tmp_path_factory) -> dict[str, Path]:
    """The photographs as LMDBs of each kind, as files and as a list of these."""
    folder = tmp_path_factory.mktemp("photographs")
    made = {
        kind: write_lmdb(
            folder / kind, [photograph_datum(name, kind) for name in PHOTOGRAPHS]
        )
        for kind in (*ENCODERS, "raw", "raw grey")
    }
    lines = []
    for label, name in enumerate(PHOTOGRAPHS):
        file = folder / f"{label}.jpg"
        file.write_bytes(encoded(photograph(name), "jpeg"))
        lines.append(f"{file} {label}\n")
    made["list"] = folder / "list.txt"
    made["list"].write_text("".join(lines))
    return made
