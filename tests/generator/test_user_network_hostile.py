"""Files that are no networks, or no sane ones: one sentence, exit code 2, no files."""

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
from caffe.proto import caffe_pb2
from google.protobuf import text_format
from hypothesis import given, settings
from hypothesis import strategies as st

from generator.__main__ import main
from swwae.base.project import ROOT
from tests.helpers import loading

SECONDS = 10

INPUT = (
    'layer { name: "data" type: "Input" top: "data"'
    " input_param { shape { dim: 1 dim: 3 dim: 16 dim: 16 } } }\n"
)
CONV = (
    'layer { name: "conv" type: "Convolution" bottom: "data" top: "conv"'
    " convolution_param { num_output: 4 kernel_size: 3 } }\n"
)
POOL = (
    'layer { name: "pool" type: "Pooling" bottom: "conv" top: "pool"'
    " pooling_param { pool: MAX kernel_size: 2 stride: 2 } }\n"
)
FC = (
    'layer { name: "fc" type: "InnerProduct" bottom: "pool" top: "fc"'
    " inner_product_param { num_output: 10 } }\n"
)
GOOD = INPUT + CONV + POOL + FC


def input_of(*dims: int) -> str:
    shape = " ".join(f"dim: {dim}" for dim in dims)
    return (
        'layer { name: "data" type: "Input" top: "data"'
        f" input_param {{ shape {{ {shape} }} }} }}\n"
    )


def conv(fields: str) -> str:
    return INPUT + CONV.replace("num_output: 4 kernel_size: 3", fields) + POOL + FC


def pool(fields: str) -> str:
    window = "pool: MAX kernel_size: 2 stride: 2"
    return INPUT + CONV + POOL.replace(window, fields) + FC


def relu(name: str, bottom: str, top: str) -> str:
    return f'layer {{ name: "{name}" type: "ReLU" bottom: "{bottom}" top: "{top}" }}\n'


def inner_product(fields: str) -> str:
    return GOOD.replace("num_output: 10", fields)


@pytest.fixture
def run(tmp_path, capsys):
    """Writes a file, has the generator read it, and returns code and message."""

    def run(content: str | bytes, *options: str) -> tuple[int, str]:
        path = tmp_path / "net.prototxt"
        data = content.encode() if isinstance(content, str) else content
        path.write_bytes(data)
        return run_on(path, *options)

    def run_on(path: Path, *options: str) -> tuple[int, str]:
        out = tmp_path / "out"
        begun = time.monotonic()
        code = main([str(path), "--name", "x", "--out", str(out), *options])
        assert time.monotonic() - begun < SECONDS
        error = capsys.readouterr().err
        if code:
            assert not out.exists(), "something was written"
            assert_one_sentence(error)
        return code, error

    run.on = run_on
    return run


def assert_one_sentence(error: str) -> None:
    assert error.startswith("generator: ")
    assert error.count("\n") == 1, error
    assert error.rstrip().endswith((".", "?")), error
    assert error.isascii() or error.replace("\n", "").isprintable(), error
    assert "Traceback" not in error
    assert len(error) < 800, f"a sentence of {len(error)} characters"


def test_the_network_that_the_others_are_spoiled_from_is_good(run, tmp_path):
    assert run(GOOD) == (0, "")
    assert (tmp_path / "out/models/x/swwae-all/train_val.prototxt").is_file()


# --- no text, no network

NO_NETWORK = {
    "empty": b"",
    "white space": b" \n\t\n",
    "a comment": b"# nothing\n",
    "zeros": bytes(1000),
    "random bytes": bytes(range(256)) * 20,
    "Latin-1": GOOD.replace("conv", "conv\xe9").encode("latin-1"),
    "a byte-order mark in the middle": INPUT.encode() + b"\xef\xbb\xbf" + CONV.encode(),
    "half a character": GOOD.encode() + b"\xe2\x82",
    "a caffemodel": caffe_pb2.NetParameter(
        name="x", layer=[caffe_pb2.LayerParameter(name="conv", type="Convolution")]
    ).SerializeToString(),
    "5 MB of garbage": b"\x8f\x01garbage" * 600_000,
    "5 MB of text": b"layer { } " * 500_000,
    "prose": b"The quick brown fox jumps over the lazy dog.\n",
    "JSON": b'{"layer": [{"name": "conv"}]}',
    "a solver": b'net: "a.prototxt" base_lr: 0.01 max_iter: 10 snapshot_prefix: "x"',
    "a name alone": b'name: "x"\n',
    "an unfinished string": b'name: "x',
    "unknown fields": GOOD.encode() + b"colour: 3\n",
    "an unknown field of a layer": GOOD.replace("num_output", "outputs").encode(),
    "an unknown enum": pool("pool: MEDIAN kernel_size: 2").encode(),
    "a word for a number": conv("num_output: many kernel_size: 3").encode(),
    "a negative num_output": conv("num_output: -4 kernel_size: 3").encode(),
    "2^32 outputs": conv("num_output: 4294967296 kernel_size: 3").encode(),
    "2^64 as a dimension": (input_of(1, 3, 2**64, 16) + CONV).encode(),
    "deep nesting": (b"layer { " * 10_000 + b"} " * 10_000),
    "deep braces": b"{" * 200_000,
    "a million closing braces": b"}" * 1_000_000,
    "extension syntax": b"[a.b.c] { x: 1 }",
    "a long number": b"force_backward: " + b"9" * 200_000,
    "a long field name": b"a" * 200_000 + b": 1",
}


@pytest.mark.parametrize("content", NO_NETWORK.values(), ids=NO_NETWORK)
def test_what_is_no_network_is_refused(content, run):
    code, error = run(content)
    assert code == 2
    assert "net.prototxt" in error


def test_a_good_file_cut_anywhere_is_refused_or_read(run):
    """40 places; what is left may be a shorter network, never a traceback."""
    refused = 0
    for cut in range(0, len(GOOD), len(GOOD) // 40):
        code, error = run(GOOD[:cut])
        assert code == 2 or cut > len(INPUT + CONV), (cut, error)
        refused += code == 2
        if code == 0:
            break
    assert refused > 15


@pytest.mark.parametrize(
    "kind", ["missing", "folder", "dangling", "loop", "fifo", "device", "below a file"]
)
def test_what_is_no_file_is_refused(kind, run, tmp_path):
    path = tmp_path / "it.prototxt"
    if kind == "folder":
        path.mkdir()
    elif kind == "dangling":
        path.symlink_to(tmp_path / "nowhere")
    elif kind == "loop":
        path.symlink_to(path)
    elif kind == "fifo":
        os.mkfifo(path)
    elif kind == "device":
        path = Path("/dev/zero")
    elif kind == "below a file":
        path.write_text(GOOD)
        path = path / "net.prototxt"
    code, error = run.on(path)
    assert code == 2
    assert str(path) in error


def test_an_unreadable_file_is_refused(run):
    """One that root cannot read either."""
    code, error = run.on(Path("/proc/self/mem"))
    assert code == 2
    assert "cannot read /proc/self/mem: Input/output error" in error


@pytest.mark.parametrize("name", ["", "x" * 5000, "a\nb.prototxt", "/dev/null", "/"])
def test_odd_file_names_are_refused(name, tmp_path, capsys):
    code = main([name, "--out", str(tmp_path / "out")])
    assert code == 2
    assert not (tmp_path / "out").exists()
    error = capsys.readouterr().err
    assert error.startswith("generator: ")
    assert error.count("\n") == 1


# --- text of the right form, and no sane network

INSANE = {
    # who reads what
    "a cycle": INPUT + relu("a", "b", "a") + relu("b", "a", "b") + CONV + FC,
    "a layer that reads itself": INPUT + relu("a", "a", "a") + CONV,
    "an unknown bottom": GOOD.replace('bottom: "pool"', 'bottom: "pol"'),
    "layers in reverse": FC + POOL + CONV + INPUT,
    "a blob made twice": GOOD + CONV,
    "two tops of one name": GOOD.replace('top: "data"', 'top: "data" top: "data"'),
    "no data": CONV + POOL + FC,
    "data alone": INPUT,
    "nothing to learn": INPUT + relu("r", "data", "r"),
    "two inputs": GOOD
    + INPUT.replace('"data"', '"more"')
    + 'layer { name: "ip" type: "InnerProduct" bottom: "more" top: "ip"'
    " inner_product_param { num_output: 3 } }\n",
    "a layer without bottoms": INPUT + CONV.replace('bottom: "data"', "") + POOL + FC,
    "a layer without tops": INPUT + CONV.replace('top: "conv"', ""),
    "a pooling without tops": INPUT + CONV + POOL.replace('top: "pool"', ""),
    "a branch": GOOD.replace('bottom: "pool"', 'bottom: "conv"')
    + FC.replace('"fc"', '"fc2"'),
    # types
    "an unknown type": INPUT
    + CONV
    + relu("r", "conv", "r").replace("ReLU", "ReLUU")
    + FC.replace('"pool"', '"r"'),
    "no type": INPUT + CONV.replace('type: "Convolution"', "") + POOL + FC,
    "a reshape first": INPUT
    + 'layer { name: "r" type: "Reshape" bottom: "data" top: "r" }\n'
    + CONV.replace('"data"', '"r"'),
    # shapes
    "an image of 2 axes": input_of(1, 3, 16) + CONV,
    "an image of 5 axes": input_of(1, 3, 4, 16, 16) + CONV,
    "no shape": INPUT.replace(" input_param", " #"),
    "an empty shape": input_of() + CONV,
    "a negative side": input_of(1, 3, -16, 16) + CONV,
    "a side of 0": input_of(1, 3, 0, 16) + CONV,
    "a side of 2^63 - 1": input_of(1, 3, 2**63 - 1, 16) + CONV,
    "sides of 10^9": input_of(1, 3, 10**9, 10**9) + CONV,
    "a batch of 10^18 channels": input_of(1, 10**18, 1, 1) + CONV,
    "a vector to convolve": input_of(1, 768) + CONV + POOL + FC,
    # windows
    "no convolution_param": conv("").replace("convolution_param {  }", ""),
    "no outputs": conv("kernel_size: 3"),
    "0 outputs": conv("num_output: 0 kernel_size: 3"),
    "4e9 outputs": conv("num_output: 4000000000 kernel_size: 3"),
    "10^9 outputs": conv("num_output: 1000000000 kernel_size: 3"),
    "no kernel": conv("num_output: 4"),
    "a kernel of 0": conv("num_output: 4 kernel_size: 0"),
    "a kernel of 2^31": conv("num_output: 4 kernel_size: 2147483648"),
    "a kernel of 2^32 - 1": conv("num_output: 4 kernel_size: 4294967295"),
    "a kernel larger than the image": conv("num_output: 4 kernel_size: 17"),
    "three kernels": conv("num_output: 4 " + "kernel_size: 3 " * 3),
    "a kernel twice": conv("num_output: 4 kernel_size: 3 kernel_h: 3 kernel_w: 3"),
    "half a kernel": conv("num_output: 4 kernel_h: 3"),
    "a stride of 0": conv("num_output: 4 kernel_size: 3 stride: 0"),
    "three strides": conv("num_output: 4 kernel_size: 3 stride: 1 stride: 1 stride: 1"),
    "a stride of 2^31": conv("num_output: 4 kernel_size: 3 stride: 2147483648"),
    "half a stride": conv("num_output: 4 kernel_size: 3 stride_h: 2"),
    "half a pooling stride": pool("kernel_size: 3 stride_h: 2"),
    "half a pooling padding": pool("kernel_size: 3 stride: 2 pad_h: 1"),
    "a pooling padding twice": pool(
        "kernel_size: 3 stride: 2 pad: 1 pad_h: 1 pad_w: 1"
    ),
    "global pooling with a stride": pool("global_pooling: true stride: 2"),
    "global pooling with a padding": pool("global_pooling: true pad: 1"),
    "a padding of 2^31": conv("num_output: 4 kernel_size: 3 pad: 2147483648"),
    "a padding of 10^6": conv("num_output: 4 kernel_size: 3 pad: 1000000"),
    "a dilation of 0": conv("num_output: 4 kernel_size: 3 dilation: 0"),
    "a dilation of 2^31": conv("num_output: 4 kernel_size: 3 dilation: 2147483648"),
    "0 groups": conv("num_output: 4 kernel_size: 3 group: 0"),
    "groups that do not divide": conv("num_output: 4 kernel_size: 3 group: 2"),
    "another axis": conv("num_output: 4 kernel_size: 3 axis: 2"),
    "a pooling window of 0": pool("kernel_size: 0"),
    "a pooling stride of 0": pool("kernel_size: 2 stride: 0"),
    "no pooling window": pool("pool: MAX"),
    "padding as large as the window": pool("kernel_size: 2 stride: 2 pad: 2"),
    "a pooling window larger than the plane": pool("kernel_size: 99"),
    "a pooling window of 2^32 - 1": pool("kernel_size: 4294967295"),
    "pooling windows and strides of 2^32 - 1": pool(
        "kernel_size: 4294967295 stride: 4294967295"
    ),
    "pooling windows and strides of 2^31 - 1": pool(
        "kernel_size: 2147483647 stride: 2147483647"
    ),
    "windows that leave gaps at the end": pool("kernel_size: 1 stride: 20"),
    "stochastic pooling": pool("pool: STOCHASTIC kernel_size: 2 stride: 2"),
    "global pooling with a window": pool("global_pooling: true kernel_size: 2"),
    "an even window of LRN": GOOD.replace("Pooling", "LRN").replace(
        "pooling_param { pool: MAX kernel_size: 2 stride: 2 }",
        "lrn_param { local_size: 4 }",
    ),
    "everything dropped": INPUT
    + CONV
    + relu("d", "conv", "conv").replace(
        '"ReLU"', '"Dropout" dropout_param { dropout_ratio: 1 }'
    )
    + POOL
    + FC,
    "an inner product of 0 units": inner_product("num_output: 0"),
    "an inner product of 4e9 units": inner_product("num_output: 4000000000"),
    "an inner product of 10^8 units": inner_product("num_output: 100000000"),
    "an inner product along another axis": inner_product("num_output: 9 axis: 2"),
    # names
    "a name of 100,000 letters": GOOD.replace('"conv"', f'"{"c" * 100_000}"'),
    "a bottom of two lines": GOOD.replace('bottom: "pool"', r'bottom: "po\nol"'),
    "a type of two lines": GOOD.replace('"InnerProduct"', r'"Inner\nProduct"'),
    "an empty name": GOOD.replace('name: "conv"', 'name: ""'),
    "no name": GOOD.replace('name: "conv"', ""),
    "an empty top": GOOD.replace('top: "conv"', 'top: ""'),
    "a line break in a name": GOOD.replace('name: "conv"', r'name: "co\nnv"'),
    "a zero in a name": GOOD.replace('name: "conv"', r'name: "co\000nv"'),
    "an escape in a name": GOOD.replace('name: "conv"', r'name: "co\033[2Jnv"'),
    "a right-to-left mark": GOOD.replace('name: "conv"', 'name: "co\u202env"'),
    "no UTF-8 in a name": GOOD.replace('name: "conv"', r'name: "co\377nv"'),
    "a name of ours": GOOD.replace('name: "conv"', 'name: "dec:conv"'),
    "a blob of ours": GOOD.replace('"conv"', '"noisy:conv"'),
    "the switches' blob": GOOD.replace('"fc"', '"pool-mask"'),
    "the target's blob": GOOD.replace('"fc"', '"data/scaled"'),
}
FINE = {
    "a name of 255 letters": GOOD.replace('"conv"', f'"{"c" * 255}"'),
    "a network's name of 100,000 letters": f'name: "{"n" * 100_000}"\n' + GOOD,
    "quotes, slashes, dots": GOOD.replace('"conv"', r'"../../co\"n\\v\'/../"'),
    "a name in other letters": GOOD.replace('"conv"', '"слой 1"'),
    "spaces in a name": GOOD.replace('"conv"', '" conv 1 "'),
    "jinja in a name": GOOD.replace('"conv"', '"{{ 7*7 }}{% for %}"'),
    "a name like a comment": GOOD.replace('"conv"', '"# conv } layer {"'),
    "a network's name with a path": 'name: "../../etc/passwd"\n' + GOOD,
    "a network's name of two lines": 'name: "a\\nlayer { }"\n' + GOOD,
    "a byte-order mark": "\ufeff" + GOOD,
    "Windows' line ends": GOOD.replace("\n", "\r\n"),
    "no line ends": GOOD.replace("\n", " "),
}


@pytest.mark.parametrize("text", INSANE.values(), ids=INSANE)
def test_what_is_insane_is_refused(text, run):
    code, error = run(text)
    assert code == 2, "it was accepted"
    assert "net.prototxt" in error or "--" in error or "'" in error


@pytest.mark.parametrize("text", FINE.values(), ids=FINE)
def test_what_is_odd_but_sane_stays_whole_and_in_its_folder(text, run, tmp_path):
    code, error = run(text)
    assert code == 0, error
    written = {p.relative_to(tmp_path).parts[0] for p in tmp_path.rglob("*")}
    assert written == {"net.prototxt", "out"}
    plain = text_format.Parse(text.removeprefix("\ufeff"), caffe_pb2.NetParameter())
    net = loading.read(tmp_path / "out/models/x/swwae-all/train_val.prototxt")
    made = [layer for layer in net.layer if not layer.name.startswith("dec:")]
    names = [layer.name for layer in plain.layer]
    assert [layer.name for layer in made if layer.name != "data/scaled"] == names
    assert net.name == (plain.name or "x/swwae-all")
    if any(each.name == "pool" for each in made):
        loading.in_child(loading.build, net)


# --- large

LIMITED = """
import resource, sys
resource.setrlimit(resource.RLIMIT_AS, (1 << 30, 1 << 30))
from generator.__main__ import main
sys.exit(main(sys.argv[1:]))
"""


def chain(count: int) -> str:
    """A network of `count` layers, most of them functions in place."""
    rest = count - GOOD.count("layer {")
    return INPUT + CONV + relu("r", "conv", "conv") * rest + POOL + FC


def in_a_gibibyte(path: Path, *options: str) -> subprocess.CompletedProcess:
    """The generator with no more memory than that, and SECONDS of time."""
    return subprocess.run(
        [sys.executable, "-c", LIMITED, path, *options],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=SECONDS,
    )


@pytest.mark.parametrize(
    ("content", "code"),
    [
        pytest.param(chain(2000), 0, id="2000 layers"),
        pytest.param(chain(2001), 2, id="2001 layers"),
        pytest.param(chain(50_000), 2, id="50,000 layers"),
        pytest.param("layer { } " * 400_000, 2, id="400,000 empty layers"),
        pytest.param(NO_NETWORK["5 MB of garbage"].decode("latin-1"), 2, id="garbage"),
        pytest.param(INSANE["10^9 outputs"], 2, id="10^9 outputs"),
        pytest.param(INSANE["sides of 10^9"], 2, id="sides of 10^9"),
        pytest.param("layer { " * 10_000, 2, id="deep nesting"),
        pytest.param('name: "' + "x" * (4 << 20), 2, id="a string of 4 MB"),
        pytest.param("layer { name: 'a' " + "bottom: 'b' " * 300_000, 2, id="bottoms"),
    ],
)
def test_time_and_memory_are_bounded(content, code, tmp_path):
    path, out = tmp_path / "net.prototxt", tmp_path / "out"
    path.write_text(content)
    done = in_a_gibibyte(path, "--variant", "swwae-all", "--out", str(out))
    assert done.returncode == code, done.stderr[-2000:]
    if code:
        assert_one_sentence(done.stderr)
        assert not out.exists()


def test_a_file_that_changes_anywhere_is_refused_or_read(tmp_path, capsys):
    """One byte of a good file at a time is another: never anything but 0 or 2."""
    path, out = tmp_path / "net.prototxt", tmp_path / "out"
    codes = set()

    @settings(max_examples=150, deadline=None, derandomize=True, database=None)
    @given(st.integers(0, len(GOOD) - 1), st.integers(0, 255))
    def check(place: int, byte: int) -> None:
        data = bytearray(GOOD.encode())
        data[place] = byte
        path.write_bytes(data)
        options = ["--name", "x", "--variant", "baseline", "--out", str(out)]
        codes.add(main([str(path), *options]))
        error = capsys.readouterr().err
        if error:
            assert_one_sentence(error)

    check()
    assert codes == {0, 2}


def test_how_caffe_logs_elsewhere_hides_no_reason(tmp_path, monkeypatch, capsys):
    path = tmp_path / "net.prototxt"
    path.write_text('layers { name: "a" type: NONE } layer { name: "b" }')
    monkeypatch.setenv("GLOG_minloglevel", "4")
    monkeypatch.setenv("GLOG_log_prefix", "0")
    assert main([str(path), "--variant", "swwae-all", "--out", str(tmp_path)]) == 2
    said = capsys.readouterr().err
    assert "Caffe refuses to upgrade" in said
    assert "Manually switch the definition to 'layer' format" in said
