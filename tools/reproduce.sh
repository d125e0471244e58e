#!/usr/bin/env bash
# Table 1 at the scale of Fashion-MNIST: builds, makes data and networks, trains and
# evaluates everything with several seeds. Interrupted, the same command goes on.
set -euo pipefail
cd "$(dirname "$(dirname "$(readlink -f "$0")")")"

case " $* " in
  *" --help "* | *" -h "* | *" --tables "*) ;;
  *)
    tools/build_used.sh
    data/fashion_mnist/create.py
    ;;
esac
exec tools/reproduce.py "$@"
