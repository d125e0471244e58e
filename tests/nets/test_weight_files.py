"""Files that are given as weights, and what is said of those that are none."""

import io
import tarfile
from zipfile import ZipFile

import pytest
from caffe.proto import caffe_pb2

from generator.errors import UserError
from swwae.nets import weight_files, weights

POINTER = (
    b"version https://git-lfs.github.com/spec/v1\n"
    b"oid sha256:4d7a214614ab2935c943f9e0ff69d22eadbb8f32b1258daaa5e2ca24d17e2393\n"
    b"size 553507836\n"
)


def packed(**members: bytes) -> bytes:
    file = io.BytesIO()
    with ZipFile(file, "w") as archive:
        for name, content in members.items():
            archive.writestr(f"archive/{name}.pkl", content)
    return file.getvalue()


def tar() -> bytes:
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w") as archive:
        archive.addfile(tarfile.TarInfo("weights.pth"))
    return file.getvalue()


TORCH = packed(data=b"\x80\x02}.", version=b"3")

REFUSED = {
    "pointer": (POINTER, "a git-lfs pointer, .* 553,507,836 bytes: run `git lfs pull`"),
    "page": (b"\n <!DOCTYPE HTML>\n<title>Not found</title>", "is a web page"),
    "text": (b'name: "VGG"\nlayer { name: "\xe9" }', "is text"),
    "hdf5": (b"\x89HDF\r\n\x1a\n\0\0", "is HDF5; a binary .caffemodel"),
    "matlab": (b"MATLAB 5.0 MAT-file, Platform: GLNXA64" + bytes(90), "of MATLAB"),
    "gzip": (b"\x1f\x8b\x08\0\0", r"packed file \(gzip\): unpack it"),
    "tar": (tar(), r"packed file \(tar\): unpack it"),
    "zip": (packed(other=b""), r"packed file \(zip\) of other things"),
    "script": (packed(data=b"", constants=b""), "a program for TorchScript"),
    "cut": (TORCH[:-30], "is not a whole file of torch: the end of its .* bytes"),
    "empty": (b"", "is empty"),
}


@pytest.mark.parametrize("name", REFUSED)
@pytest.mark.parametrize("suffix", [".caffemodel", ".pth.tar", ".safetensors"])
def test_what_holds_no_weights_is_named_whatever_it_is_called(name, suffix, tmp_path):
    content, words = REFUSED[name]
    path = tmp_path / f"x{suffix}"
    path.write_bytes(content)
    with pytest.raises(UserError, match=words):
        weights.load(path)


HEADER = b'{"w":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}'


@pytest.mark.parametrize(
    ("content", "kind"),
    [
        (TORCH, weight_files.TORCH),
        (b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19.", weight_files.TORCH),
        (len(HEADER).to_bytes(8, "little") + HEADER, weight_files.SAFETENSORS),
    ],
)
def test_weights_of_other_programs_are_sent_to_the_import(content, kind, tmp_path):
    path = tmp_path / "x.caffemodel"
    path.write_bytes(content)
    assert weight_files.kind(path) == kind
    with pytest.raises(UserError, match=f"is {kind}; .*tools/import_weights.py {path}"):
        weights.load(path)


@pytest.mark.parametrize("name", ["", "{", "\n", "a" * 40, "VGG é", "x" * 8000])
def test_a_networks_name_makes_it_nothing_else(name, tmp_path):
    """It is what a .caffemodel begins with."""
    network = caffe_pb2.NetParameter(name=name)
    network.layer.add(name="fc", type="InnerProduct").blobs.add().data.append(1)
    network.layer[0].blobs[0].shape.dim.append(1)
    path = tmp_path / "x.pth"
    path.write_bytes(network.SerializeToString())
    assert weights.read(path)["fc"][0].tolist() == [1]


@pytest.mark.parametrize("place", ["the network", "a layer", "an older layer"])
def test_names_that_are_no_text_are_damage(place, tmp_path):
    network = caffe_pb2.NetParameter(name="name" if place == "the network" else "x")
    layers = network.layers if place == "an older layer" else network.layer
    layers.add(name="x" if place == "the network" else "name").blobs.add()
    content = network.SerializeToString().replace(b"name", b"n\xffme")
    path = tmp_path / "x.caffemodel"
    path.write_bytes(content)
    with pytest.raises(UserError, match="the name of a layer is no text; get the file"):
        weights.load(path)
