#!/usr/bin/env bash
# Builds the patched Caffe that the tools use: CAFFE_BUILD's, where that is one of
# fork/build.sh's two; without it that for GPUs, where there is one, else the other.
# A build from elsewhere is taken as it is.
set -euo pipefail
cd "$(dirname "$(dirname "$(readlink -f "$0")")")"

chosen=${CAFFE_BUILD-}
if [ -z "$chosen" ]; then
  chosen=build/caffe
  [ ! -x build/caffe-cuda/bin/caffe ] || chosen=build/caffe-cuda
fi
chosen=${chosen/#\~\//$HOME/}
case $(realpath -m "$chosen") in
  "$(realpath -m build/caffe)") exec fork/build.sh ;;
  "$(realpath -m build/caffe-cuda)") exec fork/build.sh --cuda ;;
esac
