#!/usr/bin/env bash
# Builds the patched Caffe and installs it to build/caffe, with --cuda to
# build/caffe-cuda. Does nothing when nothing changed; goes on where an interrupted build
# stopped.
set -euo pipefail
case ${CAFFE_SOURCE-} in
  '' | /* | '~'*) ;;
  *) export CAFFE_SOURCE=$PWD/$CAFFE_SOURCE ;;
esac
cd "$(dirname "$(dirname "$(readlink -f "$0")")")"
root=$PWD
source=$root/build/caffe-src
objects=$root/build/caffe-obj
installed=$root/build/caffe
log=$root/build/caffe-build.log
tests_log=$root/build/caffe-tests

# Of upstream's tests those that a network here trains or is evaluated through.
our_tests=augmentation,depooling_layer,safe_inv_layer,image_output_layer
our_tests+=,channel_layout,equal_patches,gaussian_noise_layer,parallel_layers
our_tests+=,dnnl_convolution_layer,algorithm_cache,net_memory,gpu_math,loss_functors
our_tests+=,loss_sum,parameter_update,prefetched_batches,exact_resume,thread_waiting
our_tests+=,faults,geometry_check
used_tests=accuracy_layer,blob,common,concat_layer,convolution_layer,data_layer
used_tests+=,data_transformer,db,deconvolution_layer,eltwise_layer
used_tests+=,euclidean_loss_layer,filler,flatten_layer,gradient_based_solver
used_tests+=,im2col_layer,image_data_layer,inner_product_layer,io,layer_factory
used_tests+=,math_functions,maxpool_dropout_layers,memory_data_layer,net,neuron_layer,pooling_layer,power_layer
used_tests+=,protobuf,reshape_layer,softmax_layer,softmax_with_loss_layer,solver
used_tests+=,solver_factory,split_layer,syncedmem,upgrade_proto,util_blas

usage() {
  cat <<'END'
usage: fork/build.sh [--cuda] [--tests[=ours|used|all|gpu]] [--sanitize[=fuzz]]
                     [--clean] [--fetch]

Builds the patched Caffe and installs it to build/caffe: bin/, lib/, python/caffe.

  --cuda           build for NVIDIA GPUs, too, and install to build/caffe-cuda; takes
                   CUDA 12 or 13 and cuDNN 8.9 or 9, from the system or from NVIDIA's
                   wheels: .venv/bin/pip install -e '.[cuda13]'
  --tests[=WHICH]  build and run C++ tests, too: `used` (the default), those of our
                   layers and of every stock layer that the networks use; `ours`,
                   our layers alone; `all`, upstream's whole suite and ours; `gpu`,
                   with --cuda, all that compute on a GPU, in parallel processes
  --sanitize       build library and tests (`ours` unless --tests says which) with
                   gcc's sanitizers of addresses and of undefined behaviour instead,
                   and run them in one thread and in four; build/caffe stays as it is
  --sanitize=fuzz  instead only build the fuzz targets, with clang, which it installs
                   (fork/fuzz.sh builds and runs them)
  --clean          remove what was built before in the same way, except the download,
                   and start over
  --fetch          only install and download what a build takes, so that it can follow
                   without a network (tools/fetch.sh does that for all of README)
  --help           print this

  In the environment:
  CAFFE_SOURCE=DIR  build from this Caffe tree, which stays as it is, instead of
                    fetching one
  DNNL=OFF          build without oneDNN, whose layers are the fast ones; otherwise
                    version 2.6 or 2.7 is taken from the system (libdnnl-dev), or
                    else Debian 12's packages are unpacked into build/onednn
  CUDA_ARCHITECTURES=LIST  compute capabilities for --cuda, such as 90 or '80;90'
                    (default: those of the cards found, otherwise 80, 90, 100 and 120;
                    later cards compile the newest one when a program starts)
END
}

fail() {  # fail CODE SENTENCE
  echo "fork/build.sh: $2" >&2
  exit "$1"
}

cuda_options=(-DCPU_ONLY=ON)

trap 'echo "fork/build.sh: interrupted; run it again to go on." >&2; exit 130' INT TERM

packages=$(cat fork/packages.txt)
case ${DNNL=ON} in
  ON) ;;
  OFF) packages=$(grep -v '^ocl-icd-libopencl1$' <<<"$packages") ;; # oneDNN's alone
  *) fail 2 "DNNL in the environment is $DNNL; it can be ON, the default, or OFF." ;;
esac

tests='' sanitize='' clean='' cuda='' gpu_tests='' fetch=''
for argument; do
  case $argument in
    --tests | --tests=used) tests=$our_tests,$used_tests ;;
    --tests=ours) tests=$our_tests ;;
    --tests=all) tests=all ;;
    --tests=gpu) tests=all gpu_tests=yes ;;
    --cuda) cuda=yes ;;
    --sanitize) sanitize=addresses ;;
    --sanitize=fuzz) sanitize=fuzz ;;
    --clean) clean=yes ;;
    --fetch) fetch=yes ;;
    --help | -h) usage; exit ;;
    *) usage >&2; fail 2 "unknown argument $argument." ;;
  esac
done

[ -z "$cuda" ] || [ -z "$sanitize" ] ||
  fail 2 "--sanitize is for the CPU build; leave --cuda out. (compute-sanitizer, of CUDA's\
 toolkit, checks kernels.)"
[ -n "$cuda" ] || [ -z "$gpu_tests" ] || fail 2 "--tests=gpu goes with --cuda."

# A build of its own, beside that for the CPU.
if [ -n "$cuda" ]; then
  source+=-cuda objects+=-cuda installed+=-cuda log=$root/build/caffe-build-cuda.log
  tests_log+=-cuda
fi

# A source of its own, too: what build/caffe was made from stays beside its objects.
case $sanitize in
  addresses) beside=-sanitized; : "${tests:=$our_tests}" ;;
  fuzz) beside=-fuzz ;;
esac
if [ -n "$sanitize" ]; then
  source+=$beside objects+=$beside log=$root/build/caffe-build$beside.log
  tests_log+=$beside
fi
# The release that both Debian 12 and 13 have.
clang=clang++-19
[ "$sanitize" != fuzz ] || packages+=$'\nclang-19\nlibclang-rt-19-dev\nlibomp-19-dev'

# Installs the Debian packages that the build needs, or says how to.
install_packages() {
  local missing
  command -v dpkg-query >/dev/null || return 0  # not Debian: find_tools decides
  # shellcheck disable=SC2086  # one word a package
  missing=$({ dpkg-query -W -f '${db:Status-Status} ${Package}\n' \
    $packages 2>/dev/null || true; } | sed -n 's/^installed //p' |
    sort | comm -13 - <(sort <<<"$packages") | tr '\n' ' ')
  [ -n "$missing" ] || return 0
  [ "$(id -u)" = 0 ] ||
    fail 2 "Debian packages are missing; run: sudo apt-get install ${missing% }"
  echo "installing Debian packages: ${missing% }"
  # shellcheck disable=SC2086
  { apt-get -qq update && DEBIAN_FRONTEND=noninteractive \
    apt-get -qq install -y --no-install-recommends $missing; } >"$log" 2>&1 ||
    fail 1 "installing them failed ($(grep -m1 '^E:' "$log" || echo "see $log"));\
 mend that, or run: apt-get update && apt-get install ${missing% }"
}

find_tools() {
  local tool
  local clang_too=''
  [ "$sanitize" != fuzz ] || clang_too=$clang
  for tool in cmake flock g++ make patch protoc python3 $clang_too; do
    command -v "$tool" >/dev/null ||
      fail 2 "the build tool $tool is not in PATH; install it and run this again."
  done
  g++ -std=c++17 -fopenmp -fsyntax-only -x c++ - 2>/dev/null <<'END' ||
#include <omp.h>
#include <optional>
int main() { if (std::optional<int> n = omp_get_max_threads(); n) { return *n; } }
END
    fail 2 "$(g++ --version | head -n 1) does not compile C++17 with OpenMP, as Caffe takes;\
 put a newer g++ first in PATH. (gcc 12 and 14 are tested.)"
}

# Takes the system's oneDNN where the engine DNNL is written for it, or Debian 12's. Says
# where neither can be had: on another processor, or without Debian's tools.
find_onednn() {
  local version
  onednn_choice=(-UDNNL_INCLUDE_DIR -UDNNL_LIBRARY)  # what CMake's cache may remember
  onednn=$DNNL
  [ "$DNNL" = ON ] || return 0
  version=$(g++ -E -dM -x c++ -include oneapi/dnnl/dnnl_version.h /dev/null 2>/dev/null | sort |
    sed -nE 's/^#define DNNL_VERSION_(MAJOR|MINOR) ([0-9]+)$/\2/p' | paste -sd. || true)
  case $version in
    2.[6-9] | 2.[1-9][0-9]) onednn="of the system, $version"; return ;;
  esac
  [ "$(g++ -print-multiarch)" = x86_64-linux-gnu ] && command -v apt-get >/dev/null &&
    command -v dpkg-deb >/dev/null || return 0
  python3 fork/onednn.py build/onednn || exit
  onednn="unpacked, $(cat build/onednn/unpacked)"
  onednn_choice=("-DDNNL_INCLUDE_DIR=$root/build/onednn/usr/include"
    "-DDNNL_LIBRARY=$root/build/onednn/usr/lib/x86_64-linux-gnu/libdnnl.so")
}

# Finds CUDA's compiler, NVIDIA's wheels and what to compile for, or says what is missing.
find_cuda() {
  local nvcc version known arch
  nvidia_wheels=$(echo "$root"/.venv/lib/python3*/site-packages/nvidia)
  [ -d "$nvidia_wheels" ] || nvidia_wheels=
  for nvcc in "${CUDACXX-}" ${nvidia_wheels:+"$nvidia_wheels"/*/bin/nvcc} "$(command -v nvcc || true)" \
    "${CUDA_HOME:-/usr/local/cuda}/bin/nvcc"; do
    [ -f "$nvcc" ] && [ -x "$nvcc" ] && break
  done
  [ -f "$nvcc" ] && [ -x "$nvcc" ] ||
    fail 2 "CUDA's compiler nvcc is neither in PATH nor in ${CUDA_HOME:-/usr/local/cuda}/bin; install the\
 CUDA toolkit 12 or 13, or run: .venv/bin/pip install -e '.[cuda13]'"
  export CUDACXX=$nvcc
  version=$("$nvcc" --version | sed -nE 's/^.*release ([0-9]+)\.([0-9]+).*$/\1 \2/p')
  case $version in
    12\ * | 13\ *) ;;
    *) fail 2 "$nvcc is of CUDA ${version/ /.}; it can be 12 or 13. Name another one with\
 CUDACXX=FILE." ;;
  esac
  CUDA_MAJOR=${version% *}
  known=$("$nvcc" --list-gpu-arch | sed 's/compute_//' | tr '\n' ' ')
  if [ -z "${CUDA_ARCHITECTURES-}" ]; then
    # The driver may be missing, as on a machine that only builds.
    CUDA_ARCHITECTURES=$(nvidia-smi --query-gpu=compute_cap --format=csv,noheader \
      2>/dev/null | tr -d . | sort -un | paste -sd';') || CUDA_ARCHITECTURES=
    if [ -z "$CUDA_ARCHITECTURES" ]; then
      for arch in 80 90 100 120; do
        [[ " $known" != *" $arch "* ]] || CUDA_ARCHITECTURES+="${CUDA_ARCHITECTURES:+;}$arch"
      done
    fi
  fi
  for arch in ${CUDA_ARCHITECTURES//;/ }; do
    [[ " $known" = *" ${arch%%-*} "* ]] ||
      fail 2 "nvcc of CUDA ${version/ /.} does not know compute capability $arch; it knows\
 ${known% }. Choose with CUDA_ARCHITECTURES."
    [ "${arch//[^0-9]/}" -ge 70 ] ||
      fail 2 "CUDA_ARCHITECTURES names compute capability $arch; this Caffe's kernels need\
 70 or more."
  done
  cuda_options=(-DCPU_ONLY=OFF -DUSE_CUDNN=ON "-DNVIDIA_WHEELS=$nvidia_wheels"
    "-DCUDA_ARCHITECTURES=$CUDA_ARCHITECTURES")
  # All that a build depends on beside the source: of the wheels the versions, of the
  # system's libraries whether they are there.
  nvcc_found="$nvcc $("$nvcc" --version | tail -n 1)"
  cuda_found="$nvcc_found $CUDA_ARCHITECTURES $nvidia_wheels $(
    { ls -d "${nvidia_wheels:-/nowhere}"_*.dist-info 2>/dev/null
      PATH=$PATH:/sbin:/usr/sbin ldconfig -p 2>/dev/null |
        grep -oE '/.*/lib(cublas|cudart|cudnn|curand|nccl)\.so$'; } |
      sed 's,.*/site-packages/,,' | tr '\n' ' ' || true)"
  ! command -v ccache >/dev/null ||
    cuda_options+=(-DCMAKE_CUDA_COMPILER_LAUNCHER=ccache)
}

mps=  # folder of the daemon that run_gpu_tests has started

# Names of the tests that compute on a GPU: a typed test has the number of its type in its
# name, not the type, and 2 and 3 of TestDtypesAndDevices are GPUDevice<float>, <double>.
gpu_instances='*/2.*:*/3.*:*GPU*:*CuDNN*:Im2colKernelTest*'

end_mps() {
  [ -n "$mps" ] || return 0
  echo quit | nvidia-cuda-mps-control >/dev/null 2>&1 || true
  rm -rf "$mps"
  mps=''
  unset CUDA_MPS_PIPE_DIRECTORY CUDA_MPS_LOG_DIRECTORY
}

# The GPU instances of the tests, in processes that share the card: gradient checks wait
# for it thousands of times, and one process would keep it idle. CUDA's MPS, where it is
# there, lets them compute at the same time; without it they take turns.
run_gpu_tests() {
  local shard failed='' processes=() count=$(($(nproc) < 12 ? $(nproc) : 12))
  nvidia-smi -L >/dev/null 2>&1 ||
    fail 2 "the tests are built, and there is no NVIDIA GPU here to run them on. On a\
 machine with one: fork/build.sh --cuda --tests=gpu"
  if [ -z "${CUDA_MPS_PIPE_DIRECTORY-}" ] && command -v nvidia-cuda-mps-control >/dev/null; then
    mps=$(mktemp -d)
    export CUDA_MPS_PIPE_DIRECTORY=$mps CUDA_MPS_LOG_DIRECTORY=$mps
    trap 'end_mps' EXIT
    # It may start where its server cannot: in a container, or beside another user's.
    { nvidia-cuda-mps-control -d 9>&- && "$installed/bin/caffe" device_query --gpu=all; } \
      >/dev/null 2>&1 || end_mps
  fi
  echo "testing on the GPU in $count processes${CUDA_MPS_PIPE_DIRECTORY:+, by MPS}"
  rm -f "$tests_log"-*.log
  for ((shard = 0; shard < count; shard++)); do
    # Every shape is measured: what other runs have found is theirs.
    (cd "$source" && CAFFE_CUDNN_CACHE='' GTEST_TOTAL_SHARDS=$count \
      GTEST_SHARD_INDEX=$shard OMP_NUM_THREADS=1 "$objects/test/test.testbin" \
      --gtest_filter="$gpu_instances" >"$tests_log-$shard.log" 2>&1) &
    processes+=($!)
  done
  for shard in "${processes[@]}"; do wait "$shard" || failed=yes; done
  grep -hE '^\[  (PASSED|FAILED)  \] [0-9]+ test' "$tests_log"-*.log || failed=yes
  [ -z "$failed" ] || fail 1 "tests on the GPU failed. The logs: $tests_log-*.log"
}

configure() {
  local launcher=()
  if command -v ccache >/dev/null; then
    # Paths relative to the checkout, so that another checkout shares the cache.
    export CCACHE_BASEDIR=$root CCACHE_NOHASHDIR=yes
    launcher=(-DCMAKE_CXX_COMPILER_LAUNCHER=ccache)
  fi
  # CMake's cache holds absolute paths: a checkout that was moved starts it anew.
  if [ -f "$objects/CMakeCache.txt" ] && ! grep -qxF \
    "CMAKE_HOME_DIRECTORY:INTERNAL=$source" "$objects/CMakeCache.txt"; then
    rm -rf "$objects"
  fi
  # Nor does CMake notice that the compiler of CUDA is another one.
  if [ -n "$cuda" ] && [ "$(cat "$objects/nvcc" 2>/dev/null)" != "$nvcc_found" ]; then
    rm -rf "$objects"
    mkdir "$objects"
    echo "$nvcc_found" >"$objects/nvcc"
  fi
  # A unity build: files compiled in batches, which reads their headers once.
  # Without -fno-trapping-math gcc keeps branches where vectors would change nothing
  # but the processor's flags of inexact results and the like, which nobody reads.
  cmake -S "$source" -B "$objects" "${launcher[@]}" \
    -DCMAKE_CXX_STANDARD=17 -DCMAKE_BUILD_TYPE=Release -DCMAKE_INSTALL_PREFIX="$installed" \
    -DCMAKE_CXX_FLAGS="\"-fmacro-prefix-map=$source/=\" -fno-trapping-math" \
    -DCMAKE_UNITY_BUILD=ON -DCMAKE_UNITY_BUILD_BATCH_SIZE=14 \
    "${cuda_options[@]}" -DBLAS=Open -DUSE_OPENMP=ON -DBUILD_docs=OFF -DBUILD_matlab=OFF \
    -DALLOW_LMDB_NOLOCK=ON \
    "$blas_choice" "${onednn_choice[@]}" \
    -DUSE_DNNL="$DNNL" -Dpython_version=3 -DPYTHON_EXECUTABLE="$root/.venv/bin/python" \
    "$@" >>"$log" 2>&1 ||
    fail 1 "configuring failed: $(grep -m1 -A2 'CMake Error' "$log" |
      tr -s '\n ' ' ') The whole log: $log"
}

# Passes on one line for each new percentage of make's output.
show_progress() {  # show_progress WHAT
  local line last=0
  while IFS= read -r line; do
    [[ $line =~ ^\[\ *([0-9]+)%\]\ (Building|Linking|Running) ]] || continue
    ((BASH_REMATCH[1] > last)) || continue
    last=${BASH_REMATCH[1]}
    echo "$1: $last%"
  done
}

run_make() {  # run_make WHAT TARGET
  local start=$SECONDS
  make -C "$objects" -j"$(nproc)" "$2" 2>&1 | tee -a "$log" | show_progress "$1" || {
    grep -E 'error:|undefined reference|No space|Killed' "$log" | tail -n 5 >&2
    fail 1 "$1 failed; mend what the lines above say and run this again, it goes on\
 from there. The whole log: $log"
  }
  echo "$1: done in $((SECONDS - start)) s"
}

# What the sanitizers say when they find something.
finding='ERROR: [A-Za-z]*Sanitizer|runtime error: '

run_tests() {  # run_tests LOG WHAT
  local left_out='*GPU*'
  # One test chooses GPU mode, whatever its name says, and leaves it on.
  [ -z "$cuda" ] || left_out=$gpu_instances:CommonTest.TestBrewMode
  (
    cd "$source" &&  # where the tests look for their data
      "$objects/test/test.testbin" --gtest_filter="-$left_out" >"$1" 2>&1
  ) && ! grep -qE "$finding" "$1" || {
    grep -E "^\[  FAILED|Check failed|$finding" "$1" | tail -n 10 >&2
    fail 1 "$2 failed. The whole log: $1"
  }
  grep -E '^\[(==========|  PASSED  )\]' "$1" | tail -n 2
}

# What one sanitizer's build has beside configure's own choices.
configure_sanitized() {  # configure_sanitized FLAGS [OPTION...]
  local flags=$1
  shift
  : >"$log"
  python3 fork/prepare.py "$source" || exit
  configure -DBUILD_only_tests="${tests#all}" -DBUILD_python=OFF -DBUILD_python_layer=OFF \
    -DCMAKE_CXX_FLAGS_RELEASE="-O1 -g1 -fno-omit-frame-pointer $flags" "$@"
}

# Builds the tests with gcc's sanitizers and runs them.
#
# gcc puts the checks of addresses in before it makes vectors, and then makes none at
# any -O: more than -O1 takes time and blurs what a finding says. A finding ends the
# tests; with UBSAN_OPTIONS=halt_on_error=0 those of undefined behaviour are collected.
# glog's DCHECKs and the standard library's assertions are in, too.
sanitize_addresses() {
  local threads
  configure_sanitized "-D_GLIBCXX_ASSERTIONS\
 -fsanitize=address,undefined,float-cast-overflow -fsanitize-recover=undefined"
  run_make "compiling with sanitizers" test.testbin
  # What somebody has in the environment comes last, and wins.
  export ASAN_OPTIONS="detect_stack_use_after_return=1:${ASAN_OPTIONS-}"
  export LSAN_OPTIONS="suppressions='$root/fork/leaks.supp':${LSAN_OPTIONS-}"
  export UBSAN_OPTIONS="print_stacktrace=1:halt_on_error=1:${UBSAN_OPTIONS-}"
  for threads in 1 4; do
    echo "testing with sanitizers, OMP_NUM_THREADS=$threads"
    OMP_NUM_THREADS=$threads run_tests "$tests_log-$threads.log" \
      "the tests with sanitizers and OMP_NUM_THREADS=$threads"
  done
}

# Builds fork/fuzz's targets, and Caffe for them: with libFuzzer, the sanitizers, and CHECKs
# that throw (fuzz/refusal.hpp); DCHECKs, which a release has not, are out. Nothing can be
# thrown out of OpenMP's regions: its pragmas are left aside.
build_fuzz_targets() {
  local target flags omp=-D_OPENMP=201811 libgomp
  libgomp=$(g++ -print-file-name=libgomp.so)
  flags="-DNDEBUG -D_GLIBCXX_ASSERTIONS -fsanitize=address,undefined,float-cast-overflow\
 -fno-sanitize-recover=undefined -include \"$root/fork/fuzz/refusal.hpp\""
  tests=common configure_sanitized "$flags -fsanitize=fuzzer-no-link" \
    -DCMAKE_CXX_COMPILER="$clang" -DCMAKE_C_COMPILER="${clang/++/}" \
    -DOpenMP_C_FLAGS="$omp" -DOpenMP_CXX_FLAGS="$omp" \
    -DOpenMP_C_LIB_NAMES=gomp -DOpenMP_CXX_LIB_NAMES=gomp -DOpenMP_gomp_LIBRARY="$libgomp"
  run_make "compiling for fuzzing" caffe
  mkdir -p "$objects/fuzz"
  for target in fork/fuzz/*.cpp; do
    eval "$clang" -std=c++17 -O1 -g1 "$flags" -fsanitize=fuzzer '-DCPU_ONLY -DUSE_OPENCV \
      -I"$source/include" -I"$source/src" -I"$objects/include" -I"$objects" -I/usr/include/opencv4 \
      "$target" -o "$objects/fuzz/$(basename "$target" .cpp)" \
      -L"$objects/lib" -Wl,-rpath,"$objects/lib" -lcaffe -lboost_system -lglog -lgflags \
      -lprotobuf -lopencv_core "$libgomp"' >>"$log" 2>&1 ||
      fail 1 "compiling $target failed: $(grep -m1 error "$log") The whole log: $log"
  done
}

# Spaces are fine; these would end up unquoted in makefiles and CMake's lists.
case $root in
  *[\'\"\`\$\\\;:\&\|\<\>\(\)\[\]*?#%$'\n']*)
    fail 2 "$root cannot be built in, since its path holds one of\
 ' \" \` \$ \\ ; : & | < > ( ) [ ] * ? # % or a line break; move the checkout." ;;
esac
mkdir -p build
install_packages
find_tools
exec 9>build/caffe.lock
flock --nonblock 9 || { echo "waiting for another build to end"; flock 9; }
[ -z "$clean" ] || rm -rf "$source" "$objects"
[ -z "$clean" ] || [ -n "$sanitize" ] || rm -rf "$installed"

# The OpenBLAS that computes with OpenMP's threads, as everything else in Caffe does. One
# with threads of its own may be installed, too, and then be what the linker finds first:
# two pools of threads hold up each other.
blas=/usr/lib/$(g++ -print-multiarch)/openblas-openmp/libopenblas.so
blas_choice=-DOpenBLAS_LIB=$blas
[ -e "$blas" ] || blas='' blas_choice=-UOpenBLAS_LIB  # what CMake's cache may remember

find_onednn
if [ -n "$fetch" ]; then
  tools/venv.sh
  python3 fork/prepare.py --fetch
  exit
fi
case $sanitize in
  addresses) sanitize_addresses; exit ;;
  fuzz) build_fuzz_targets; exit ;;
esac

wanted=$(python3 fork/prepare.py --fingerprint) || exit
tools/venv.sh
[ -z "$cuda" ] || find_cuda
wanted+=" $(.venv/bin/python -c 'import platform as p; from importlib import metadata
print("python", p.python_version(), "numpy", metadata.version("numpy"))') dnnl $onednn blas $blas"
[ -z "$cuda" ] ||
  wanted+=" cuda $cuda_found"

if [ "$(cat "$installed/made-from" 2>/dev/null)" != "$wanted" ]; then
  free=$(df --output=avail -BM build | tail -n 1 | tr -dc 0-9)
  gigabytes=1
  [ -z "$cuda" ] || gigabytes=2
  [ "$free" -ge "${gigabytes}000" ] ||
    fail 2 "building takes $gigabytes GB in $root/build, which has $free MB free; make room."
  : >"$log"
  python3 fork/prepare.py "$source" || exit
  configure
  [ "$DNNL" = OFF ] || grep -q 'oneDNN *: *Yes' "$log" ||
    echo "oneDNN 2.6 is not there: building without its fast layers"
  [ -z "$cuda" ] || grep -q 'cuDNN *: *Yes' "$log" ||
    echo "cuDNN is not there: building without its fast layers; run:\
 .venv/bin/pip install -e '.[cuda${CUDA_MAJOR}]'"
  run_make "compiling Caffe" all
  make -C "$objects" install >>"$log" 2>&1 ||
    fail 1 "installing to $installed failed: $(tail -n 1 "$log")"
  rm -f "$installed"/lib/libdnnl.so.*
  case $onednn in
    unpacked*) cp build/onednn/usr/lib/x86_64-linux-gnu/libdnnl.so.2 "$installed/lib" ;;
  esac
  "$root/.venv/bin/python" -c 'import sys; sys.path.insert(0, sys.argv[1])
import caffe' "$installed/python" >>"$log" 2>&1 ||
    fail 1 "the pycaffe just built does not import: $(tail -n 1 "$log")"
  echo "$wanted" >"$installed/made-from"
  echo "the patched Caffe is in $installed"
fi

if [ -n "$tests" ]; then
  configure -DBUILD_only_tests="${tests#all}"
  run_make "compiling the tests" test.testbin
  if [ -n "$gpu_tests" ]; then
    run_gpu_tests
  else
    run_tests "$tests_log.log" "the tests"
  fi
fi
