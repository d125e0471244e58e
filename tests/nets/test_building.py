"""Networks that Caffe builds, or refuses to, in a process of its own."""

import os
import subprocess
import sys

from swwae.base.project import ROOT


def test_what_logs_look_like_elsewhere_hides_no_reason(tmp_path):
    path = tmp_path / "net.prototxt"
    path.write_text('layer { name: "one" type: "Nonsense" top: "one" }')
    code = (
        "import sys; from pathlib import Path; from swwae.nets import building;"
        "building.parameter_shapes(Path(sys.argv[1]))"
    )
    form = {"GLOG_minloglevel": "9", "GLOG_log_prefix": "0", "GLOG_v": "1"}
    done = subprocess.run(
        [sys.executable, "-c", code, path],
        cwd=ROOT,
        env=os.environ | form,
        capture_output=True,
        text=True,
    )
    assert "UserError: Caffe refuses" in done.stderr
    assert "Unknown layer type: Nonsense" in done.stderr.splitlines()[-1]
