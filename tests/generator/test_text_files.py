"""Files as editors leave them: marks, UTF-16, comments in other encodings."""

import codecs

import pytest

from generator import text_files
from generator.errors import UserError
from generator.schema import read, read_network
from generator.user_network import Options, read_user_network
from tests.generator.test_user_network_hostile import GOOD, INPUT

TEXT = '# the network of #1\nname: "a#b" # caf\xe9\n' + GOOD

FORMS = {
    "utf-8": TEXT.encode(),
    "mark": TEXT.encode("utf-8-sig"),
    "utf-16": TEXT.encode("utf-16"),
    "utf-16-be": codecs.BOM_UTF16_BE + TEXT.encode("utf-16-be"),
    "utf-16 without a mark": TEXT.encode("utf-16-le"),
    "utf-32": TEXT.encode("utf-32"),
    "latin-1": TEXT.encode("latin-1"),
    "gbk": TEXT.replace("caf\xe9", "\u7f51\u7edc").encode("gbk"),
    "windows": TEXT.replace("\n", "\r\n").encode("utf-16"),
    "macintosh": TEXT.replace("\n", "\r").encode(),
}


@pytest.mark.parametrize("form", FORMS)
def test_the_same_network_is_read_in_every_form(form, tmp_path):
    path = tmp_path / "net.prototxt"
    path.write_bytes(FORMS[form])
    network = read_network(path)
    assert network.name == "a#b"
    assert [layer.name for layer in network.layer] == ["data", "conv", "pool", "fc"]


def test_a_solver_is_read_likewise(tmp_path):
    path = tmp_path / "solver.prototxt"
    path.write_bytes("base_lr: 0.5 # \xb5\n".encode("latin-1"))
    assert read(path, "SolverParameter").base_lr == 0.5


@pytest.mark.parametrize(
    "content",
    [
        'name: "\u7f51\u7edc"\n'.encode("gbk") + GOOD.encode(),
        b"\xff\xfen\0a",  # half a character
        bytes(range(256)),
    ],
)
def test_what_cannot_be_read_is_said(content, tmp_path):
    path = tmp_path / "net.prototxt"
    path.write_bytes(content + b"\0" * (len(content) == 4))
    with pytest.raises(UserError, match="UTF-8, outside its comments|no Caffe network"):
        read_network(path)


IMAGES = (
    'layer { name: "data" type: "ImageData" top: "data" top: "label"'
    ' image_data_param { source: "SOURCE" new_height: 16 new_width: 16'
    " batch_size: 2 } }\n"
)


def test_a_list_that_caffe_would_misread_is_refused(tmp_path):
    """Its first image would be lost."""
    listed = tmp_path / "list.txt"
    path = tmp_path / "net.prototxt"
    text = GOOD.replace(INPUT, IMAGES.replace("SOURCE", str(listed)))
    loss = 'layer { name: "loss" type: "SoftmaxWithLoss" bottom: "fc" bottom: "label" }'
    path.write_text(text + loss)
    lines = "a b.jpg 0\n\nc.jpg 1\n"
    for form, words in (("utf-8-sig", "byte order mark"), ("utf-16", "in UTF-16")):
        listed.write_text(lines, form)
        with pytest.raises(UserError, match=words):
            read_user_network(path, Options("given"))
    listed.write_bytes(lines.encode() + b"\xcd\xf8.jpg 1\n")
    assert read_user_network(path, Options("given")).data.train_images == 3


def test_lines_keep_names_that_are_no_text(tmp_path):
    path = tmp_path / "list.txt"
    path.write_bytes(codecs.BOM_UTF8 + b"\xff.jpg 1\n" + b"x" * 10)
    assert list(text_files.lines(path, 8)) == ["\udcff.jpg 1\n", "x" * 8, "xx"]
