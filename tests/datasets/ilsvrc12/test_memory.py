"""The memory that a set as large as ILSVRC takes."""

import subprocess
import sys

from tests.helpers.ilsvrc12 import ROOT, image

# An index as large as ILSVRC's, every image of which is the same one in a tar.
LARGE = """
import os, sys, threading, time
sys.path.insert(0, {root!r})
from pathlib import Path
from swwae.datasets import encoded_lmdb
from swwae.datasets.encoded_records import Form
from swwae.datasets.found_images import FoundImages
from swwae.datasets.image_index import IndexBuilder

def proportional(process):
    text = Path(f"/proc/{{process}}/smaps_rollup").read_text()
    lines = [line.split() for line in text.splitlines()[1:]]
    return sum(int(line[1]) for line in lines if line[0] == "Pss:")

builder = IndexBuilder(Path("/"))
archive = builder.add_archive(Path({image!r}))
for number in range(1_281_167):
    name = f"n{{number % 1000:08d}}/n{{number % 1000:08d}}_{{number}}.JPEG"
    builder.add(name, number % 1000, {size}, archive)
found = FoundImages(builder.index().in_order_of_names(), ("class",) * 1000, ())
del builder
form = Form(64, 95, 0)
began = time.monotonic()

def progress(done):
    if done > 300:
        children = Path("/proc/self/task/%d/children" % os.getpid()).read_text()
        peak = int(Path("/proc/self/status").read_text().split("VmHWM:")[1].split()[0])
        together = sum(map(proportional, ["self", *children.split()]))
        print(len(children.split()), peak, together, flush=True)
        os._exit(0)

out = Path({out!r})
encoded_lmdb.write(
    out,
    found,
    form,
    made_from={{}},
    jobs=4,
    strict=False,
    report=out / "report",
    progress=progress,
)
"""


def test_memory_is_bounded_at_the_size_of_ilsvrc(tmp_path):
    (tmp_path / "image.tar").write_bytes(image(1, (500, 375)))
    program = LARGE.format(
        root=str(ROOT),
        image=str(tmp_path / "image.tar"),
        size=(tmp_path / "image.tar").stat().st_size,
        out=str(tmp_path / "out"),
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    processes, peak, together = map(int, done.stdout.split())
    assert processes == 4
    assert peak < 700_000 and together < 700_000  # kB
