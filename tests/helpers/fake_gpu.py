"""Stand-ins for Caffe's program on GPUs and for nvidia-smi: what they would say."""

from pathlib import Path

CARDS = {
    0: "GPU 0: NVIDIA H200, compute capability 9.0, 143156 MB, driver 13.0, CUDA 13.0,"
    " cuDNN 9.19.1, math fp32, deterministic no",
    3: "GPU 3: NVIDIA A100, compute capability 8.0, 81051 MB, driver 13.0, CUDA 13.0,"
    " cuDNN 9.19.1, math fp32, deterministic no",
}
"""What the fork logs of each."""

DEVICE_QUERY = """\
[ "$1" = device_query ] && {
  [ -z "$NO_GPU" ] || {
    echo "F1124 06:20:42.123456 77 common.cpp:9] $NO_GPU" >&2; exit 134; }
  wanted=$(echo "${2#--gpu=}" | sed 's/all/0 3/; s/,/ /g')
  for gpu in $wanted; do
    case $gpu in 0|3) ;; *)
      echo "F1124 06:20:42.123456 77 common.cpp:9] Check failed: error == cudaSuccess \
(101 vs. 0)  invalid device ordinal" >&2; exit 134 ;; esac
    echo "I1124 06:20:42.123456 77 common.cpp:9] Device id:              $gpu" >&2
    grep "GPU $gpu" "$(dirname "$0")/cards" |
      sed 's/^/I1124 06:20:42.123456 77 common.cpp:9] /' >&2
  done
  exit 0; }
"""


def write_program(path: Path, text: str) -> Path:
    """An executable shell script."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\n{text}")
    path.chmod(0o755)
    return path


def write_caffe(build: Path, rest: str = "exit 1\n") -> Path:
    """A program with the GPUs 0 and 3, or without any, for the reason NO_GPU.

    build: its folder. rest: what it does but for device_query.
    """
    program = write_program(build / "bin" / "caffe", DEVICE_QUERY + rest)
    (program.parent / "cards").write_text("\n".join(CARDS.values()) + "\n")
    return program


def write_nvidia_smi(folder: Path, rows: dict[str, str]) -> Path:
    """nvidia-smi that answers queries for fields with rows; returns its folder."""
    cases = "".join(
        f'*"--query-gpu={fields} "*) cat <<END\n{row}\nEND\n;;\n'
        for fields, row in rows.items()
    )
    text = f'case "$* " in\n{cases}*) exit 9 ;;\nesac\n'
    return write_program(folder / "nvidia-smi", text).parent
