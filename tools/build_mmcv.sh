#!/usr/bin/env bash
# Build mmcv with its compiled ops for the torch of one Python and put the wheel into a folder.
#   tools/build_mmcv.sh PYTHON VERSION WHEEL_DIR [--cuda]
# pip's own wheel cache is bypassed: it does not know which torch, or whether any, a wheel was built against.
set -euo pipefail

python=$1 version=$2 wheel_dir=$3 mode=${4:-}
work=$(mktemp -d "${TMPDIR:-/tmp}/instseg-mmcv.XXXXXX")
case $work in *[[:space:]]*) rm -rf "$work"; work=$(mktemp -d /tmp/instseg-mmcv.XXXXXX) ;; esac
trap 'rm -rf "$work"' EXIT
trap 'exit 143' TERM INT HUP

# Compiler flags are split at spaces on their way to the compiler, so the venv is reached through a path without any.
prefix=$("$python" -c 'import sys; print(sys.prefix)')
ln -s "$prefix" "$work/venv"
python=$work/venv/bin/python

# CFLAGS replaces Python's own flags, -O included: without -O2 here, roi_align is ten times slower. Debug symbols (-g) cost
# time and 100 MB.
flags="-O2 -g0 -DNDEBUG -fwrapv"

# Nearly all build time goes into reading torch's headers, once for each of 78 files. Reading them once, as a precompiled
# header, makes the build three times as fast. GCC ignores a header that does not fit its flags, so this cannot break it.
precompile_torch_headers() {
    "${CXX:-c++}" --version | grep -qi -e 'gcc' -e 'g++' -e 'Free Software Foundation' || return 0
    printf '#include <torch/types.h>\n#include <vector>\n' > "$work/torch_headers.h"
    local includes
    includes=$("$python" -c 'import sysconfig, torch.utils.cpp_extension as ext
print(*("-I" + path for path in [*ext.include_paths(), sysconfig.get_path("include")]))')
    # shellcheck disable=SC2086  # flags and includes are lists
    if "${CXX:-c++}" $flags -fPIC -std=c++17 -DTORCH_API_INCLUDE_EXTENSION_H $includes \
            -x c++-header "$work/torch_headers.h" -o "$work/torch_headers.h.gch"; then
        flags="$flags -include $work/torch_headers.h"
    else
        echo "precompiled torch headers: not possible here, building without"
    fi
}

jobs=$(nproc)
memory_gb=$(awk '/MemAvailable/ {print int($2 / 1048576)}' /proc/meminfo)
if [ "$jobs" -gt $((memory_gb / 2 + 1)) ]; then jobs=$((memory_gb / 2 + 1)); fi  # a compiler takes up to 2 GB

if [ "$mode" = --cuda ]; then
    export FORCE_CUDA=1
else
    export CUDA_VISIBLE_DEVICES="" FORCE_CUDA=0  # otherwise a visible GPU makes the build ask for nvcc
    precompile_torch_headers
fi
mkdir -p "$wheel_dir" "$work/wheels"
CFLAGS=$flags CXXFLAGS=$flags MAX_JOBS=${MAX_JOBS:-$jobs} "$python" -m pip wheel --verbose --no-cache-dir --no-deps \
    --no-build-isolation --wheel-dir "$work/wheels" "onedl-mmcv==$version"
unzip_list=$("$python" -m zipfile -l "$work"/wheels/onedl_mmcv-*.whl)
case $unzip_list in
    *mmcv/_ext.*) ;;
    *) echo "the built mmcv has no compiled ops (mmcv/_ext)"; exit 1 ;;
esac
cp "$work"/wheels/onedl_mmcv-*.whl "$wheel_dir/.unfinished.$$"  # copy, then rename: no reader ever sees half a wheel
mv "$wheel_dir/.unfinished.$$" "$wheel_dir/$(basename "$work"/wheels/onedl_mmcv-*.whl)"
