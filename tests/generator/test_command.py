"""The generator's command: what it writes, says and refuses."""

import re
import subprocess
import sys
import time

import pytest

from generator.__main__ import main
from generator.describe import described
from generator.files import render
from generator.names import ON_REQUEST
from generator.networks import NETWORKS, VGG8
from generator.stages import plan
from generator.variants import VARIANTS
from swwae.base.project import ROOT
from tests.helpers.generating import generate, tree


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
