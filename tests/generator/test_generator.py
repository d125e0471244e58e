"""The generator: names, shapes, mirroring, files, and what it refuses."""

import hashlib
import json
import os
import re
import subprocess
import sys
import time
from pathlib import Path

import pytest

from generator import paper
from generator.__main__ import main
from generator.describe import described
from generator.files import render
from generator.layers import number_text, value_text
from generator.manifest import of_plans
from generator.names import ON_REQUEST
from generator.networks import NETWORKS, VGG8, VGG16
from generator.recipe import MADE_ON_REQUEST
from generator.stages import plan
from generator.variants import VARIANTS
from tests.helpers.generating import generate

ROOT = Path(__file__).resolve().parents[2]
PAPERS = [name for name in VARIANTS if name.startswith(("sae", "swwae"))]
"""The variants of Figures 1 and 2."""


def file_of(network, variant, kind, depth=None):
    files = plan(network, VARIANTS[variant], depth).networks
    return next(f for f in files if f.path.endswith(f"/{kind}.prototxt"))


def layers_of(network, variant, kind, depth=None):
    return {
        layer.name: layer for layer in file_of(network, variant, kind, depth).layers
    }


def solver_of(network, variant, stage):
    solvers = plan(network, VARIANTS[variant]).solvers
    return next(s for s in solvers if s.path.endswith(f"stage{stage}.prototxt"))


# --- the networks


def test_vgg16_macro_layer_3_is_the_papers_figure_1():
    """Unpool, then as many deconvolutions as convolutions, in mirrored order."""
    sections = file_of(VGG16, "swwae-all", "train_val").sections
    titles = {section.title: section for section in sections}
    encoder = titles["macro-layer 3: 128x56x56 -> 256x28x28"]
    decoder = titles["decoder of macro-layer 3: 256x28x28 -> 128x56x56"]
    assert [layer.name for layer in encoder.layers] == [
        "conv3_1",
        "conv3_1/relu",
        "conv3_2",
        "conv3_2/relu",
        "conv3_3",
        "conv3_3/relu",
        "conv3_3/pool",
    ]
    assert encoder.layers[-1].tops == ("conv3_3/pool", "conv3_3/pool-mask")
    assert [(layer.name, layer.bottoms, layer.tops) for layer in decoder.layers] == [
        (
            "dec:conv3_3/unpool",
            ("dec:conv3_3", "conv3_3/pool-mask"),
            ("dec:conv3_3/unpool",),
        ),
        ("dec:conv3_3", ("dec:conv3_3/unpool",), ("dec:conv3_2",)),
        ("dec:conv3_2/relu", ("dec:conv3_2",), ("dec:conv3_2",)),
        ("dec:conv3_2", ("dec:conv3_2",), ("dec:conv3_1",)),
        ("dec:conv3_1/relu", ("dec:conv3_1",), ("dec:conv3_1",)),
        ("dec:conv3_1", ("dec:conv3_1",), ("dec:conv2_2",)),
        ("dec:conv2_2/relu", ("dec:conv2_2",), ("dec:conv2_2",)),
        ("dec:loss@conv2_2", ("dec:conv2_2", "conv2_2/pool"), ("dec:loss@conv2_2",)),
    ]


@pytest.mark.parametrize("network", [VGG16, VGG8], ids=lambda net: net.name)
@pytest.mark.parametrize("variant", PAPERS)
def test_the_decoder_mirrors_the_encoder_layer_by_layer(network, variant):
    """dec:X has X's weights' shape, turns X's output's shape into X's input's."""
    layers = layers_of(network, variant, "train_val")
    shape = dict.fromkeys(("data", "data/scaled"), network.image.shape)
    for layer in layers.values():
        shape.update(dict.fromkeys(layer.tops, layer.shape))
    convolutions = [n for n, layer in layers.items() if layer.type == "Convolution"]
    assert convolutions, "a network without convolutions tests nothing"
    for name in convolutions:
        conv, dec = layers[name], layers[f"dec:{name}"]
        assert dec.type == "Deconvolution"
        assert dec.blobs[0] == conv.blobs[0]
        assert dec.blobs[1] == (conv.blobs[0][1],)
        assert shape[dec.bottoms[0]] == conv.shape
        assert dec.shape == shape[conv.bottoms[0]]
    poolings = [layer for layer in layers.values() if layer.type == "Pooling"]
    for pooling in poolings:
        unpooling = layers["dec:" + pooling.name.replace("/pool", "/unpool")]
        assert shape[unpooling.bottoms[0]] == pooling.shape
        assert unpooling.shape == shape[pooling.bottoms[0]]
    decoders = [
        n for n in layers if n.startswith("dec:") and "/" not in n and "@" not in n
    ]
    assert len(decoders) == len(convolutions)


@pytest.mark.parametrize("variant", PAPERS)
def test_stacked_decoders_feed_on_each_other_and_layerwise_ones_do_not(variant):
    layers = layers_of(VGG16, variant, "train_val")
    for name, top in (("conv5_3", "conv5_3/pool"), ("conv2_2", "dec:conv2_2")):
        source = layers[f"dec:{name}/unpool"].bottoms[0]
        assert source == (top if VARIANTS[variant].stacked else f"{name}/pool")
    assert layers["dec:conv3_1"].tops == (
        ("dec:conv2_2",) if VARIANTS[variant].stacked else ("dec:conv2_2[2]",)
    )
    assert layers["dec:conv1_1"].tops == ("dec:data",)
    assert "dec:data/relu" not in layers


@pytest.mark.parametrize("variant", PAPERS)
def test_switches_exist_only_where_something_reads_them(variant):
    for kind in ("train_val", "deploy", "reconstruct"):
        layers = layers_of(VGG16, variant, kind)
        read = {bottom for layer in layers.values() for bottom in layer.bottoms}
        for layer in layers.values():
            masks = [top for top in layer.tops if top.endswith("/pool-mask")]
            assert set(masks) <= read
        unpool = layers["dec:conv4_3/unpool"]
        method = unpool.fields["pooling_param"]["pool"]
        known = variant.startswith("swwae")
        assert method == ("SWITCH" if known else "FIX")
        assert len(unpool.bottoms) == (2 if known else 1)
    depth2 = layers_of(VGG16, variant, "deploy", depth=2)
    assert depth2["conv3_3/pool"].tops == ("conv3_3/pool",)


@pytest.mark.parametrize("stage", ["decoder", "train_val"])
def test_loss_weights_are_table_a1(stage):
    layers = layers_of(VGG16, "swwae-all", stage)
    names = ["data/scaled", "conv1_2", "conv2_2", "conv3_3", "conv4_3"]
    weights = [layers[f"dec:loss@{name}"].fields["loss_weight"] for name in names]
    assert weights == [1e-4, 1e-12, 1e-12, 1e-12, 1e-10]
    first = layers_of(VGG16, "swwae-first", stage)
    losses = [n for n, layer in first.items() if layer.type == "EuclideanLoss"]
    assert losses == ["dec:loss@data/scaled"]
    assert first["dec:loss@data/scaled"].fields["loss_weight"] == 1e-4


def test_layerwise_learning_rates_are_table_a1():
    """base_lr x lr_mult, every loss weighted 1, biases at twice the rate."""
    layers = layers_of(VGG16, "swwae-layerwise", "pretrain")
    base = solver_of(VGG16, "swwae-layerwise", 2).base_lr
    for last, rate in zip(
        ["conv1_1", "conv2_1", "conv3_1", "conv4_1", "conv5_1"],
        [3e-9, 1e-8, 3e-12, 1e-12, 1e-11],
        strict=True,
    ):
        weights, biases = layers[f"dec:{last}"].fields["param"]
        assert base * weights["lr_mult"] == pytest.approx(rate)
        assert base * biases["lr_mult"] == pytest.approx(2 * rate)
    losses = [layer for layer in layers.values() if layer.type == "EuclideanLoss"]
    assert [layer.fields["loss_weight"] for layer in losses] == [1] * 5


@pytest.mark.parametrize(
    ("variant", "kind"), [("swwae-layerwise", "pretrain"), ("sae-first", "decoder")]
)
def test_the_encoder_is_fixed_in_stages_2_and_3(variant, kind):
    layers = layers_of(VGG16, variant, kind)
    for name, layer in layers.items():
        for rates in layer.fields.get("param", []):
            assert (rates["lr_mult"] == 0) == (not name.startswith("dec:"))
    assert not {"fc6", "loss", "accuracy"} & set(layers)


def test_solvers_follow_section_4_1():
    stage2 = solver_of(VGG16, "swwae-layerwise", 2)
    stage4 = solver_of(VGG16, "swwae-all", 4)
    data4 = layers_of(VGG16, "swwae-all", "train_val")["data"]
    text = render([plan(VGG16, VARIANTS["swwae-all"])])[
        "models/vgg16/swwae-all/train_val.prototxt"
    ]
    batch4 = int(re.search(r"train_lmdb.*batch_size: (\d+)", text)[1])
    assert data4.type == "Data"
    assert stage2.momentum == stage4.momentum == 0.9
    assert batch4 * stage4.iter_size == 64
    assert stage2.iter_size == 1
    assert abs(stage4.max_iter - 16 * 1281167 / 64) < 16
    assert abs(stage2.max_iter - 1281167 / 16) < 16
    assert paper.MOMENTUM == 0.9


def test_stages_of_each_variant():
    stages = {
        name: [Path(s.path).stem for s in plan(VGG8, v).solvers]
        for name, v in VARIANTS.items()
    }
    assert stages["baseline"] == ["stage0", "stage4"]
    assert stages["swwae-first"] == stages["sae-all"] == ["stage3", "stage4"]
    assert stages["sae-layerwise"] == ["stage2", "stage4"]


def test_decoding_from_an_inner_product_goes_through_the_pooled_shape():
    layers = layers_of(VGG16, "swwae-first", "decoder", depth=7)
    assert layers["dec:fc7"].bottoms == ("fc7",)
    assert layers["dec:fc6"].blobs[0] == (25088, 4096)
    reshape = layers["dec:conv5_3/reshape"]
    assert reshape.shape == (512, 7, 7)
    assert layers["dec:conv5_3/unpool"].bottoms[0] == reshape.tops[0]
    assert not [n for n in layers if "dropout" in n]
    assert "fc8" not in layers


# --- the text


@pytest.mark.parametrize(
    ("value", "text"),
    [(1e-12, "1e-12"), (1e-4, "0.0001"), (3000.0000000000005, "3000"), (2e10, "2e10")],
)
def test_numbers_are_short_and_exact_enough_for_float32(value, text):
    assert number_text(value) == text


def test_strings_are_quoted_for_protobuf():
    assert value_text('a"b\\c') == '"a\\"b\\\\c"'


# --- what is committed, and what is made on request


def plans_of(network, variants=VARIANTS):
    """Plans at the default depth, as the generator writes them."""
    return [plan(network, VARIANTS[name]).without(ON_REQUEST) for name in variants]


def committed(network):
    """Path -> text, of all that is kept of a built-in network."""
    kept = [name for name in VARIANTS if name not in MADE_ON_REQUEST]
    manifest = of_plans(plans_of(network))
    return render(plans_of(network, kept)) | {
        f"models/{network.name}/network.json": manifest.text()
    }


def on_request(network):
    """Path -> text, of all else at the default depth."""
    texts = render([plan(network, variant) for variant in VARIANTS.values()])
    return {k: v for k, v in texts.items() if k not in committed(network)}


def test_generated_files_are_the_committed_ones():
    for network in NETWORKS.values():
        texts = committed(network)
        for name, text in texts.items():
            assert (ROOT / name).read_text() == text, f"{name}: python -m generator"
        requested = on_request(network)
        for top in ("models", "solvers"):
            found = {
                str(p.relative_to(ROOT))
                for pattern in ("*.prototxt", "network.json")
                for p in (ROOT / top / network.name).rglob(pattern)
                if not p.parent.name.startswith("depth")
            }
            assert found - requested.keys() == {n for n in texts if n.startswith(top)}
            for name in found & requested.keys():  # somebody has made it here
                assert (ROOT / name).read_text() == requested[name]


def test_what_is_made_on_request_is_what_was_committed_before():
    """By checksums of the files that were: `sha256sum` writes such a list."""
    lines = (Path(__file__).parent / "on_request.sha256").read_text().splitlines()
    known = {name: checksum for checksum, name in (line.split("  ") for line in lines)}
    texts = {k: v for net in NETWORKS.values() for k, v in on_request(net).items()}
    assert set(texts) == set(known)
    for name, text in texts.items():
        assert hashlib.sha256(text.encode()).hexdigest() == known[name], name


def test_few_enough_lines_are_committed():
    texts = [text for net in NETWORKS.values() for text in committed(net).values()]
    assert sum(len(text.splitlines()) for text in texts) <= 60000


def test_the_classifier_of_any_size_is_there_once():
    for variant in VARIANTS.values():
        kinds = [file.kind for file in plan(VGG8, variant).networks]
        assert ("deploy_conv" in kinds) == (variant.name == "baseline")


@pytest.mark.parametrize("kinds", ["dump", "reconstruct", "dump,reconstruct"])
def test_other_networks_are_made_where_they_are_asked_for(kinds, tmp_path):
    arguments = ["vgg8", "--variant", "sae-first", "--out", str(tmp_path)]
    assert main([*arguments, "--with", kinds]) == 0
    folder = tmp_path / "models/vgg8/sae-first"
    texts = render([plan(VGG8, VARIANTS["sae-first"])])
    made = {path.stem for path in folder.iterdir()}
    assert made == {"train_val", "decoder", "deploy", *kinds.split(",")}
    for kind in kinds.split(","):
        text = (folder / f"{kind}.prototxt").read_text()
        assert text == texts[f"models/vgg8/sae-first/{kind}.prototxt"]


# --- the command


def test_generating_twice_gives_the_same_bytes(tmp_path):
    for out in ("a", "b"):
        done = generate("vgg16", "--variant", "swwae-all", "--out", tmp_path / out)
        assert done.returncode == 0, done.stderr
    names = sorted(p.relative_to(tmp_path / "a") for p in (tmp_path / "a").rglob("*"))
    assert "models/vgg16/swwae-all/train_val.prototxt" in map(str, names)
    for name in names:
        if (tmp_path / "a" / name).is_file():
            assert (tmp_path / "a" / name).read_bytes() == (
                tmp_path / "b" / name
            ).read_bytes()
    again = generate("vgg16", "--variant", "swwae-all", "--out", tmp_path / "a")
    assert again.returncode == 0, "our own files may be written again"


def test_the_line_on_the_box_tells_shapes_parameters_and_files(capsys, tmp_path):
    assert main(["vgg16", "--variant", "swwae-all", "--out", str(tmp_path)]) == 0
    text = capsys.readouterr().out
    assert re.search(r"5 conv5_3 +512x14x14 +512x7x7 +7,079,424 +7,079,424", text)
    assert "138,357,544" in text  # Simonyan & Zisserman 2015, Table 2: 138 million
    for p in tmp_path.rglob("*.prototxt"):
        assert str(p.relative_to(tmp_path)) in text
    assert (tmp_path / "models/vgg16/swwae-layerwise/pretrain.prototxt").is_file()


def shown_parameters(capsys, tmp_path, *arguments):
    """Row -> the numbers at its end, of the table that is printed."""
    assert main([*arguments, "--out", str(tmp_path)]) == 0
    rows = [line.split() for line in capsys.readouterr().out.splitlines()]
    named = {row[1] if row[0].isdecimal() else row[0]: row for row in rows if row}
    return {name: [cell for cell in row[1:]] for name, row in named.items()}


def test_the_baseline_is_shown_without_a_decoder(capsys, tmp_path):
    rows = shown_parameters(capsys, tmp_path, "vgg8", "--variant", "baseline")
    assert rows["layer"] == ["input", "output", "encoder"]
    assert rows["conv1_2"][-1] == "2,480"
    assert rows["parameters"] == ["336,762"]


def test_a_ladder_is_shown_with_its_combinators(capsys, tmp_path):
    """A combinator has, for each channel, 4 hidden units of 3 inputs and a bias, and
    an output of 4 inputs and a bias: 21 numbers."""
    stacked = shown_parameters(capsys, tmp_path, "vgg8", "--variant", "swwae-all")
    shown = shown_parameters(capsys, tmp_path, "vgg8", "--variant", "ladder")
    channels = {"conv1_2": 1, "conv2_2": 16, "conv3_2": 32 + 64}
    for name, count in channels.items():
        before, after = (
            int(rows[name][-1].replace(",", "")) for rows in (stacked, shown)
        )
        assert after - before == 21 * count
    assert stacked["parameters"] == ["336,762", "71,729"]
    assert shown["parameters"] == ["336,762", f"{71729 + 21 * 113:,}"]
    text = described(VGG8, VARIANTS["ladder"], 3)
    assert re.search(r"^decoder +74,102 ", text, re.MULTILINE)


def test_depth_goes_to_a_folder_of_its_own(tmp_path):
    assert (
        main(["vgg8", "--variant", "sae-first", "--depth", "2", "--out", str(tmp_path)])
        == 0
    )
    made = {str(p.relative_to(tmp_path)) for p in tmp_path.rglob("*.prototxt")}
    assert "models/vgg8/sae-first/depth2/train_val.prototxt" in made
    assert all("/depth2/" in name for name in made)


def everything(network):
    """Plans of every variant and depth."""
    return [
        plan(network, variant, depth)
        for depth in range(1, network.max_depth + 1)
        for variant in VARIANTS.values()
        if variant.has_decoder or depth == network.depth
    ]


def test_everything_of_a_network_takes_a_second_at_most():
    """Processor time, the best of three: others use the machine, too. BatchNorm nearly
    doubles the layers, and what they take."""
    total = 0
    for network in NETWORKS.values():
        seconds = []
        for _ in range(3):
            start = time.process_time()
            texts = render(everything(network))
            seconds.append(time.process_time() - start)
        assert len(texts) > 250
        assert min(seconds) < (2 if network.name == "vgg16_bn" else 1)
        total += min(seconds)
    assert total < 5


def test_all_depths_at_once(tmp_path):
    assert main(["vgg8", "--depth", "all", "--out", str(tmp_path)]) == 0
    made = {str(p.relative_to(tmp_path)) for p in tmp_path.rglob("*.prototxt")}
    kept = [p.without(ON_REQUEST) for p in everything(VGG8)]
    assert made == set(render(kept))
    assert "models/vgg8/swwae-all/depth5/deploy.prototxt" in made
    more = tmp_path / "more"
    assert main(["vgg8", "--depth", "all", "--with", "dump", "--out", str(more)]) == 0
    also = {str(p.relative_to(more)) for p in more.rglob("*.prototxt")}
    assert made < also < set(render(everything(VGG8)))
    assert "models/vgg8/swwae-all/depth5/dump.prototxt" in also
    assert "models/vgg8/baseline/deploy_conv.prototxt" in made
    assert not [name for name in made if "baseline/depth" in name]


def test_data_can_be_elsewhere(tmp_path):
    main(
        [
            "vgg8",
            "--variant",
            "baseline",
            "--data",
            "data/mnist",
            "--out",
            str(tmp_path),
        ]
    )
    text = (tmp_path / "models/vgg8/baseline/train_val.prototxt").read_text()
    assert 'source: "data/mnist/train_lmdb"' in text
    assert "fashion" not in text


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["vgg61"], ["vgg61", "did you mean vgg16", "vgg8"]),
        (
            ["vgg16", "--variant", "swae-all"],
            ["swae-all", "swwae-layerwise", "baseline"],
        ),
        (["vgg16", "--depth", "9"], ["--depth 9", "1 to 8", "8 fc8"]),
        (["vgg8", "--depth", "0"], ["--depth 0", "1 to 5"]),
        (["vgg8", "--depth", "two"], ["--depth two", "a number, or all"]),
        (["vgg8", "--with", "deploy"], ["--with deploy", "reconstruct or dump"]),
        (["vgg8", "--name", "alexnet"], ["a built-in network has it"]),
        (["vgg8", "--image", "3x8x8"], ["--image is for a network file"]),
        (
            ["vgg8", "--variant", "baseline", "--depth", "2"],
            ["baseline has no decoder"],
        ),
    ],
)
def test_a_mistake_is_one_sentence_and_leaves_nothing(arguments, words, tmp_path):
    out = tmp_path / "out"
    done = generate(*arguments, "--out", out)
    assert done.returncode == 2
    assert done.stdout == ""
    assert len(done.stderr.splitlines()) == 1
    for word in words:
        assert word in done.stderr
    assert not out.exists()


def tree(folder):
    return {p: p.read_bytes() if p.is_file() else None for p in folder.rglob("*")}


@pytest.mark.parametrize("kind", ["foreign", "file", "edited", "folder in the way"])
def test_a_folder_that_is_not_ours_is_left_alone(kind, tmp_path):
    out = tmp_path / "out"
    target = out / "models/vgg8/sae-all/deploy.prototxt"
    if kind == "foreign":
        out.mkdir()
        (out / "thesis.tex").write_text("do not lose me")
    elif kind == "file":
        out.write_text("a file")
    elif kind == "edited":
        target.parent.mkdir(parents=True)
        target.write_text("# mine now\n")
    else:
        target.mkdir(parents=True)
    before = tree(tmp_path)
    done = generate("vgg8", "--variant", "sae-all", "--out", out)
    assert done.returncode == 2
    assert len(done.stderr.splitlines()) == 1
    assert "--out DIR" in done.stderr
    assert tree(tmp_path) == before


def test_a_disk_that_refuses_leaves_nothing_half_written(tmp_path, monkeypatch, capsys):
    """The last file cannot be written: the earlier ones go again."""
    real, calls = Path.write_text, []

    def refuse(path, *given, **options):
        calls.append(path)
        if len(calls) == 5:
            path.touch()
            raise OSError(28, "No space left on device", "deploy.prototxt")
        return real(path, *given, **options)

    monkeypatch.setattr(Path, "write_text", refuse)
    out = tmp_path / "out"
    assert main(["vgg8", "--variant", "sae-all", "--out", str(out)]) == 2
    assert "No space left on device" in capsys.readouterr().err
    assert len(calls) == 5
    assert not out.exists()


@pytest.mark.parametrize("place", [0, 3, 10])
@pytest.mark.parametrize("step", ["mkdir", "write_text", "chmod"])
def test_an_interruption_leaves_nothing(step, place, tmp_path, monkeypatch, capsys):
    """Wherever it comes, also right behind what makes a folder or a file."""
    home = os if step == "chmod" else Path
    real, calls = getattr(home, step), []

    def interrupted(path, *given, **options):
        real(path, *given, **options)
        calls.append(path)
        if len(calls) == place + 1:
            raise KeyboardInterrupt

    monkeypatch.setattr(home, step, interrupted)
    out = tmp_path / "out"
    code = main(["vgg8", "--variant", "all", "--out", str(out)])
    assert (code, len(calls)) == (130, place + 1)
    assert not out.exists()


CTRL_C_AT_EVERY_FILE = """
import os, signal, sys
from pathlib import Path
from generator.__main__ import main

real = Path.replace

def press_ctrl_c(path, target):
    os.kill(os.getpid(), signal.SIGINT)
    return real(path, target)

Path.replace = press_ctrl_c
sys.exit(main(["vgg8", "--variant", "sae-all", "--out", sys.argv[1]]))
"""


def test_ctrl_c_waits_until_all_files_have_their_names(tmp_path):
    stopped, whole = tmp_path / "stopped", tmp_path / "whole"
    generate("vgg8", "--variant", "sae-all", "--out", whole)
    done = subprocess.run(
        [sys.executable, "-c", CTRL_C_AT_EVERY_FILE, stopped],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 130, done.stderr
    assert "Traceback" not in done.stderr
    contents = [
        {path.relative_to(out): text for path, text in tree(out).items()}
        for out in (stopped, whole)
    ]
    assert contents[0] == contents[1]


def test_what_a_kill_left_is_replaced(tmp_path):
    generate("vgg8", "--variant", "sae-all", "--out", tmp_path)
    expected = tree(tmp_path)
    left = tmp_path / "models/vgg8/sae-all/.new-deploy.prototxt"
    left.write_text("half")
    generate("vgg8", "--variant", "sae-all", "--out", tmp_path)
    assert tree(tmp_path) == expected


def test_generators_beside_each_other_all_get_into_the_manifest(tmp_path):
    out = tmp_path / "out"
    names = ["baseline", "sae-first", "sae-all", "swwae-first", "swwae-all", "ladder"]
    started = [
        subprocess.Popen(
            [sys.executable, "-m", "generator", "vgg8", "--variant", name]
            + ["--out", str(out)],
            cwd=ROOT,
            stdout=subprocess.DEVNULL,
        )
        for name in names
    ]
    assert [process.wait() for process in started] == [0] * len(names)
    made = json.loads((out / "models/vgg8/network.json").read_text())["made"]
    assert {*names} <= {entry["variant"] for entry in made}


def test_an_unwritable_folder_is_refused():
    done = generate("vgg8", "--out", "/proc/networks")
    assert done.returncode == 2
    assert len(done.stderr.splitlines()) == 1
    assert "/proc/networks" in done.stderr


def test_our_own_folder_by_another_name_is_ours():
    before = tree(ROOT / "models"), tree(ROOT / "solvers")
    done = generate("vgg8", "--variant", "sae-all", "--out", ".")
    assert done.returncode == 0, done.stderr
    assert (tree(ROOT / "models"), tree(ROOT / "solvers")) == before


@pytest.mark.parametrize("folder", ["", "a\nb"])
def test_a_data_folder_that_no_file_can_name_is_refused(folder, tmp_path):
    done = generate("vgg8", "--data", folder, "--out", tmp_path / "out")
    assert done.returncode == 2
    assert "--data" in done.stderr
    assert not (tmp_path / "out").exists()


def test_a_python_without_jinja2_is_told_which_one_to_use(tmp_path):
    program = (
        "import sys; sys.modules['jinja2'] = None\n"
        "from generator.__main__ import main\n"
        "sys.exit(main(['vgg8', '--out', sys.argv[1]]))"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, tmp_path / "out"],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 2
    assert len(done.stderr.splitlines()) == 1
    assert ".venv/bin/python -m generator" in done.stderr
    assert not (tmp_path / "out").exists()


def test_a_reader_that_goes_away_is_no_error():
    done = subprocess.run(
        f"{sys.executable} -m generator --list | head -n 1",
        shell=True,
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    assert done.stderr == ""


def test_list_and_help_are_for_a_person():
    listing = generate("--list").stdout
    for name in [*NETWORKS, *VARIANTS]:
        assert name in listing
    assert "--variant" in generate("--help").stdout
    nothing = generate()
    assert nothing.returncode == 2
    assert "--list" in nothing.stderr
