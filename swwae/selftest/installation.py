"""Whether the programs start, and whether the generator makes what is here."""

import sys
from pathlib import Path
from tempfile import TemporaryDirectory

from swwae.base.project import CAFFE, ROOT
from swwae.selftest.checks import Failed, Finding
from swwae.selftest.programs import run_well

IMPORTS = """\
import caffe, numpy, sys
print(f"Python {sys.version.split()[0]}, numpy {numpy.__version__},"
      f" {len(caffe.layer_type_list())} types of layers")
"""

GENERATED = "vgg8"


def programs_start(until: float) -> Finding:
    """Starts caffe, and Python with pycaffe; raises Failed where one does not."""
    version = run_well([CAFFE, "--version"], until)
    # What pycaffe says of layers belongs to nobody here.
    quiet = {"GLOG_minloglevel": "2"}
    python = run_well([sys.executable, "-c", IMPORTS], until, quiet)
    return Finding(f"{version.stdout.strip()}; {python.stdout.strip()}")


def generator_agrees(until: float) -> Finding:
    """Generates a network's files; raises Failed where one that is here differs."""
    with TemporaryDirectory(prefix="selftest-") as name:
        run_well(
            [sys.executable, "-m", "generator", GENERATED, "--variant", "all"]
            + ["--out", name],
            until,
        )
        made = [path.relative_to(name) for path in Path(name).rglob("*.prototxt")]
        here = sorted(path for path in made if (ROOT / path).is_file())
        differing = [
            str(path)
            for path in here
            if (Path(name) / path).read_bytes() != (ROOT / path).read_bytes()
        ]
    if differing:
        raise Failed(
            f"{len(differing)} of {len(here)} files are generated differently, such as"
            f" {differing[0]}",
            differing,
        )
    if not here:
        raise Failed(f"none of {GENERATED}'s files is here")
    return Finding(f"{len(here)} files of {GENERATED} are generated as they are here")
