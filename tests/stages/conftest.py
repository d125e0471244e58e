"""A project's folder with a tiny network."""

from pathlib import Path

import pytest

from tests.helpers.tiny_project import (
    Project,
)


@pytest.fixture
def project(tmp_path: Path) -> Project:
    return Project(tmp_path / "project")
