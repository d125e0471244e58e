"""Users' networks as the tests of several files take them."""

from functools import cache

import pytest

from generator.user_network import read_user_network
from tests.helpers import loading
from tests.helpers.user_network import file_of, options, read


@pytest.fixture(scope="session")
def thin(tmp_path_factory):
    """name -> a network, read from a copy without wide layers."""
    folder = tmp_path_factory.mktemp("thin")

    @cache
    def network(name: str, group: str = "pooling"):
        copy = folder / f"{name.replace('/', '-')}.prototxt"
        copy.write_text(loading.thinned(file_of(name).read_text()))
        return read_user_network(copy, options(name, group=group))

    return network


@pytest.fixture
def parsed(tmp_path):
    """Text -> network."""

    def parsed(text: str, image=None, **more):
        path = tmp_path / "net.prototxt"
        path.write_text(text)
        return read(path, image, **more)

    return parsed
