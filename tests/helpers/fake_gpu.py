"""Stand-ins for Caffe's program on GPUs and for nvidia-smi: what they would say."""

from pathlib import Path

from swwae.base.project import CAFFE

CARDS = {
    0: "GPU 0: NVIDIA H200, compute capability 9.0, 143156 MB, driver 13.0, CUDA 13.0,"
    " cuDNN 9.19.1, math fp32, deterministic no",
    3: "GPU 3: NVIDIA A100, compute capability 8.0, 81051 MB, driver 13.0, CUDA 13.0,"
    " cuDNN 9.19.1, math fp32, deterministic no",
}
"""What the fork logs of each."""

DEVICE_QUERY = """\
[ "$1" = device_query ] && {
  [ -n "${CUDA_VISIBLE_DEVICES-0}" ] || NO_GPU="no CUDA-capable device is detected"
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


TRAIN = """\
caffe={caffe}
for argument; do
  shift
  case $argument in
    --gpu=*)
      for gpu in $(echo "${argument#--gpu=}" | tr , ' '); do
        grep "GPU $gpu" "$(dirname "$0")/cards" | sed "s/fp32/${CAFFE_GPU_MATH-fp32}/
          s/^/I1124 06:20:42.123456 77 caffe.cpp:9] /" >&2
      done
      [ -z "$TRAIN_FAILS" ] || {
        echo "F1124 06:20:42.123456 77 syncedmem.cu:9] $TRAIN_FAILS" >&2; exit 134; } ;;
    --solver=*)
      solver=${argument#--solver=}
      sed 's/solver_mode: GPU/solver_mode: CPU/' "$solver" >"$solver.cpu"
      set -- "$@" "--solver=$solver.cpu" ;;
    *) set -- "$@" "$argument" ;;
  esac
done
exec "$caffe" "$@"
"""


def write_build(folder: Path) -> Path:
    """A build with two GPUs: what trains on them is the CPU, by the real program.

    Set CAFFE_BUILD to it. It fails in training with the words TRAIN_FAILS.
    """
    write_caffe(folder, TRAIN.replace("{caffe}", f"'{CAFFE}'"))
    (folder / "python").symlink_to(CAFFE.parents[1] / "python")
    return folder
