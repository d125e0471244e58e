"""Network and solver files that nobody would write: read or refused in a sentence."""

from pathlib import Path

import pytest
from caffe.proto import caffe_pb2
from google.protobuf import text_format
from hypothesis import given, note

from generator.errors import UserError
from generator.stages import plan
from generator.user_network import GROUPS, Options, read_user_network
from generator.variants import VARIANTS
from swwae.base.project import ROOT
from swwae.nets import network
from tests.helpers import loading
from tests.helpers.fuzz_networks import BRANCHED, OLD, SMALL
from tests.helpers.fuzzing import SEEDS, counted, damaged, examples, rewritten

MODELS = ROOT / "models"
TEXTS = [
    SMALL,
    BRANCHED,
    (MODELS / "vgg8/baseline/train_val.prototxt").read_text(),
    (MODELS / "vgg8/baseline/deploy.prototxt").read_text(),
    (MODELS / "alexnet/baseline/deploy.prototxt").read_text(),
    (MODELS / "vgg8/swwae-all/decoder.prototxt").read_text(),
]
SOLVERS = [
    path.read_text() for path in sorted((ROOT / "solvers/vgg8").rglob("*.proto*"))
]
DECODING = [variant for variant in VARIANTS.values() if not variant.ladder]


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("fuzz") / "net.prototxt"


def generated(path: Path, seed: int) -> None:
    """What is accepted is generated, and all that is generated can be read."""
    options = Options("x", None, GROUPS[seed % len(GROUPS)], None)
    try:
        read = read_user_network(path, options)
        made = plan(read, DECODING[seed % len(DECODING)])
        texts = loading.texts(made)
    except UserError as error:
        assert str(error).strip()
        return
    for text in texts.values():
        text_format.Parse(text, caffe_pb2.NetParameter())


@examples(40)
@given(SEEDS)
def test_networks(path, seed):
    text = rewritten(TEXTS, seed)
    note(text)
    path.write_text(text, errors="surrogatepass")
    with counted("networks, words"):
        generated(path, seed)


@examples(25)
@given(SEEDS)
def test_bytes_of_networks(path, seed):
    content = damaged([text.encode() for text in TEXTS], seed)
    note(content)
    path.write_bytes(content)
    with counted("networks, bytes"):
        generated(path, seed)


@examples(2)
@given(SEEDS)
def test_networks_of_the_older_syntax(path, seed):
    """Caffe's own program upgrades them, in a process of its own."""
    text = rewritten([OLD], seed)
    note(text)
    path.write_text(text, errors="surrogatepass")
    with counted("networks, older syntax"):
        generated(path, seed)


@examples(60)
@given(SEEDS)
def test_what_the_stages_read(path, seed):
    for read, texts in ((network.read, TEXTS), (network.read_solver, SOLVERS)):
        path.write_text(rewritten(texts, seed), errors="surrogatepass")
        with counted("networks and solvers of stages"):
            try:
                read(path)
            except UserError as error:
                assert str(path) in str(error)
