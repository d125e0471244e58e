#!/usr/bin/env bash
# Table 1 at the scale of Fashion-MNIST: builds, makes data and networks, trains and
# evaluates everything with several seeds. Interrupted, the same command goes on.
set -euo pipefail
cd "$(dirname "$(dirname "$(readlink -f "$0")")")"

case " $* " in
  *" --help "* | *" -h "* | *" --tables "*) ;;
  *)
    # The build that is used: that for GPUs, where there is one.
    cuda=
    [ ! -x build/caffe-cuda/bin/caffe ] || cuda=--cuda
    fork/build.sh $cuda
    data/fashion_mnist/create.py
    ;;
esac
exec tools/reproduce.py "$@"
