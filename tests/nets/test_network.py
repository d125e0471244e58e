"""Network files as they are read beside Caffe, which reads them, too."""

import caffe
import pytest

from generator.errors import UserError
from swwae.nets import network
from swwae.stages.sources import require_databases

TEXT = """name: "n" # {}
layer {{ name: "d" type: "Input" top: "d" input_param {{ shape {{ dim: 1 }} }} }}
"""


def test_comments_may_be_in_any_encoding(tmp_path):
    path = tmp_path / "net.prototxt"
    path.write_text(TEXT.format("\xe9"), "latin-1")
    assert network.read(path).name == "n"
    assert list(caffe.Net(str(path), caffe.TEST).blobs) == ["d"]


@pytest.mark.parametrize(
    ("form", "words"),
    [("utf-8-sig", "byte order mark"), ("utf-16", "UTF-16, which Caffe does not read")],
)
def test_what_caffe_does_not_read_is_said(form, words, tmp_path):
    path = tmp_path / "net.prototxt"
    path.write_text(TEXT.format("a"), form)
    with pytest.raises(UserError, match=f"{words}.* save it as UTF-8"):
        network.read(path)


def require(source, tmp_path):
    path = tmp_path / "net.prototxt"
    path.write_text(
        f'layer {{ name: "d" type: "ImageData" image_data_param {{ {source} }} }}'
    )
    require_databases(network.read(path), path)


def test_a_list_is_one_that_caffe_reads(tmp_path):
    listed = tmp_path / "list.txt"
    listed.write_text("a.jpg 0\n")
    require(f'source: "{listed}"', tmp_path)
    listed.write_text("a.jpg 0\n", "utf-8-sig")
    with pytest.raises(UserError, match=r"list.txt cannot be used: .*order mark"):
        require(f'source: "{listed}"', tmp_path)


def test_a_layer_without_a_source_is_told_of(tmp_path):
    """As NVIDIA DIGITS has them, which fills it in."""
    with pytest.raises(UserError, match="names no source: write data_param"):
        require("batch_size: 2", tmp_path)


def test_a_layer_without_a_batch_size_is_told_of(tmp_path):
    """In which Caffe finds no more to say than "Check failed: data_"."""
    path = tmp_path / "net.prototxt"
    path.write_text(
        'layer { name: "d" type: "Data" data_param { source: "a" backend: LMDB } }'
    )
    with pytest.raises(UserError, match="layer 'd' of .* has no batch_size"):
        require_databases(network.read(path), path)
