"""The runs that several tests of reports are given."""

import pytest

from swwae.runs.run import Run
from tests.helpers.reported import write


@pytest.fixture
def swwae(tmp_path):
    """Finished stages of vgg8's swwae-all, and those they build on."""
    runs = [Run("vgg8", "swwae-all", stage, root=tmp_path) for stage in range(5)]
    return [write(run) for run in runs]
