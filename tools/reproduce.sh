#!/usr/bin/env bash
# Table 1 at the scale of Fashion-MNIST: builds, makes data and networks, trains and
# evaluates everything with several seeds. Interrupted, the same command goes on.
# --net vgg8_32 or vgg10_96: of CIFAR-10 or STL-10, whose data are there already.
set -euo pipefail
cd "$(dirname "$(dirname "$(readlink -f "$0")")")"

case " $* " in
  *" --help "* | *" -h "* | *" --tables "*) ;;
  *)
    tools/build_used.sh
    case " $* " in
      *" --net vgg8_32 "* | *" --net=vgg8_32 "*) ;;
      *" --net vgg10_96 "* | *" --net=vgg10_96 "*) ;;
      *) data/fashion_mnist/create.py ;;
    esac
    ;;
esac
exec tools/reproduce.py "$@"
