#!/usr/bin/env bash
# Make the training environment, or finish one that was interrupted. See --help.
set -euo pipefail

TORCH=2.13.0 MMCV=2.3.6
CUDA=13  # of PyPI's torch
MMCV_RECIPE=1  # counts changes of tools/build_mmcv.sh that make earlier wheels obsolete
REPO=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
TORCH_INDEX=${INSTSEG_TORCH_INDEX-https://download.pytorch.org/whl/cpu}
CACHE=${INSTSEG_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/instance_segmentation}

usage() {
    cat <<EOF
usage: ./init_venv.sh [DIR] [--cuda] [--quiet]

Make a virtual environment in DIR (default: venv beside this script) with torch, mmcv and its compiled ops, and this
package, installed editable. Run it again after an interruption: it goes on where it stopped. A finished DIR is left alone.

  --cuda   torch for NVIDIA GPUs, and mmcv's ops compiled for them; needs the CUDA toolkit (nvcc) and takes longer
  --quiet  say nothing about a finished DIR

Environment:
  PYTHON               interpreter to use, 3.10 or newer (default: python3)
  INSTSEG_TORCH_INDEX  index with CPU builds of torch, added to pip's own when it can be reached
                       (default: https://download.pytorch.org/whl/cpu; empty: only pip's own)
  TORCH_CUDA_ARCH_LIST with --cuda: the GPUs that mmcv's ops are compiled for, such as "8.6;9.0" (default: this machine's, or
                       all from Turing on when none is visible)
  INSTSEG_CACHE        keeps the built mmcv for the next environment (default: ~/.cache/instance_segmentation)
  PIP_…                pip's settings are respected
EOF
}

die() {
    printf 'init_venv.sh: %s\n' "$*" >&2
    exit 1
}

DIR="" MODE=cpu QUIET=""
while [ $# -gt 0 ]; do
    case $1 in
        --cuda) MODE=cuda ;;
        --quiet) QUIET=yes ;;
        -h | --help) usage; exit 0 ;;
        -*) usage >&2; exit 2 ;;
        *) [ -z "$DIR" ] || { usage >&2; exit 2; }; DIR=$1 ;;
    esac
    shift
done
DIR=$(realpath -m -- "${DIR:-$REPO/venv}")
PY=$DIR/bin/python
STAMPS=$DIR/.instseg LOG=$DIR/setup.log

# --- finished steps -----------------------------------------------------------------------------------------------
# A stamp holds what its step depends on, the earlier steps included; the step is done while that stays the same.

# What mmcv's ops are compiled for: what the user says, the visible GPUs, or, on a login node or in a docker build, all
ALL_GPUS="7.5;8.0;8.6;8.9;9.0;10.0;12.0+PTX"
gpu_architectures() {
    local visible
    visible=$(nvidia-smi --query-gpu=compute_cap --format=csv,noheader 2> /dev/null | grep -E '^[0-9]+\.[0-9]+$' | sort -Vu | paste -sd ';') || true
    echo "${visible:-$ALL_GPUS}"
}
BUILD=cpu  # of mmcv's wheel: one for other GPUs does not run on these
if [ "$MODE" = cuda ]; then
    export TORCH_CUDA_ARCH_LIST=${TORCH_CUDA_ARCH_LIST:-$(gpu_architectures)}
    BUILD=cuda-$(echo "$TORCH_CUDA_ARCH_LIST" | tr -s '; ' '_')
fi

key() {  # key STEP → the text its stamp must hold
    case $1 in
        venv) echo "venv at $DIR" ;;
        torch) echo "$(key venv) | torch $TORCH $MODE" ;;
        mmcv) echo "$(key torch) | mmcv $MMCV recipe $MMCV_RECIPE${BUILD#cpu}" ;;
        package) echo "$(key mmcv) | $REPO $(cat "$REPO/setup.py" "$REPO/instance_segmentation/__init__.py" | cksum)" ;;
        check) echo "$(key package) | $(cksum < "$REPO/tools/selfcheck.py")" ;;
    esac
}

is_done() { [ -f "$STAMPS/$1" ] && [ "$(cat "$STAMPS/$1")" = "$(key "$1")" ]; }

mark_done() {
    key "$1" > "$STAMPS/$1.new"
    mv "$STAMPS/$1.new" "$STAMPS/$1"
}

still_there() {  # someone may have removed packages, or the Python beneath the venv; imports nothing heavy
    "$PY" - "$TORCH" "$MMCV" <<'EOF' 2> /dev/null
import sys
from importlib.metadata import version
torch, mmcv = sys.argv[1:]
versions = {name: version(name) for name in ("onedl-mmdetection", "openvino", "nncf", "instance-segmentation", "pytest")}
sys.exit(version("torch").split("+")[0] != torch or version("onedl-mmcv") != mmcv)
EOF
}

# --- what must be there before anything is downloaded -------------------------------------------------------------

check_machine() {
    local python=${PYTHON:-python3} found
    command -v "$python" > /dev/null || die "$python is not installed. Run: sudo apt install python3 python3-venv python3-dev g++"
    found=$("$python" -c 'import sys; print("%d.%d" % sys.version_info[:2])')
    "$python" -c 'import sys; sys.exit(sys.version_info < (3, 10))' ||
        die "$python is Python $found, 3.10 or newer is needed. Install one and run: PYTHON=python3.11 ./init_venv.sh"
    "$python" -c 'import venv, ensurepip' 2> /dev/null ||
        die "Python $found has no venv module. Run: sudo apt install python$found-venv"
    command -v "${CXX:-c++}" > /dev/null || die "no C++ compiler (${CXX:-c++}); mmcv is compiled here. Run: sudo apt install g++"
    "$python" -c 'import os, sys, sysconfig
sys.exit(not os.path.exists(os.path.join(sysconfig.get_path("include"), "Python.h")))' ||
        die "Python $found has no headers (Python.h); mmcv is compiled here. Run: sudo apt install python$found-dev"
    printf '#include <vector>\nint main() { return 0; }\n' | "${CXX:-c++}" -x c++ -fsyntax-only - 2> /dev/null ||
        die "the C++ compiler ${CXX:-c++} cannot compile an empty program. Run: sudo apt install g++"
    [ "$MODE" != cuda ] || check_nvcc
    if [ -e "$DIR" ] && [ ! -d "$STAMPS" ] && [ ! -f "$DIR/pyvenv.cfg" ] && [ -n "$(ls -A "$DIR" 2> /dev/null)" ]; then
        die "$DIR exists and is not a virtual environment; nothing was changed. Name another folder: ./init_venv.sh DIR"
    fi
    if [ -n "${PYTHON:-}" ] && [ -x "$PY" ] && [ "$("$PY" -c 'import sys; print("%d.%d" % sys.version_info[:2])')" != "$found" ]; then
        die "$DIR was made with another Python than PYTHON=$PYTHON ($found). Name another folder, or remove it first."
    fi
    local free needed=4
    [ "$MODE" != cuda ] || needed=10
    free=$(df -Pk -- "$(existing_parent "$DIR")" | awk 'NR == 2 {print int($4 / 1048576)}')
    [ "$free" -ge "$needed" ] || die "$free GB are free where $DIR lies, about $needed GB are needed."
}

check_nvcc() {  # torch refuses a compiler of another major version, but only after gigabytes of downloads
    local nvcc=${CUDA_HOME:-/usr/local/cuda}/bin/nvcc found
    [ -x "$nvcc" ] || nvcc=$(command -v nvcc) ||
        die "--cuda needs nvcc of the CUDA toolkit $CUDA, in PATH or in CUDA_HOME. Install the toolkit, or leave --cuda out."
    found=$("$nvcc" --version | sed -n 's/.*release \([0-9]*\)\..*/\1/p')
    [ "$found" = "$CUDA" ] || die "$nvcc is of CUDA ${found:-(no version)}, torch $TORCH needs one of CUDA $CUDA; set CUDA_HOME to it."
}

existing_parent() {
    local path=$1
    until [ -d "$path" ]; do path=$(dirname "$path"); done
    echo "$path"
}

# --- running a step -----------------------------------------------------------------------------------------------

job=""
stop() {  # the step runs in a process group of its own; without this it would outlive Ctrl-C
    trap - INT TERM HUP
    [ -z "$job" ] || kill -TERM -- "-$job" 2> /dev/null || true
    [ ! -t 1 ] || printf '\n'
    printf 'init_venv.sh: interrupted. Run it again to go on.\n' >&2
    exit 130
}
trap stop INT TERM HUP

clock() { printf '%d:%02d' $(($1 / 60)) $(($1 % 60)); }

progress() {  # the compiler's "[12/78]" of the log, when the step has one
    sed -n "$log_start,\$p" "$LOG" 2> /dev/null | grep -a -o '^ *\[[0-9]*/[0-9]*\]' | tail -n 1 | tr -d ' []' || true
}

step() {  # step NUMBER NAME TITLE COMMAND…: run unless done, show that it is alive, stop with the log's end on failure
    local number=$1 name=$2 title=$3
    shift 3
    if is_done "$name"; then
        printf '[%s/5] %-44s done before\n' "$number" "$title"
        return
    fi
    local start=$SECONDS shown=0 seconds status=0
    log_start=$(($(wc -l < "$LOG") + 1))
    printf '\n=== [%s/5] %s, %s\n' "$number" "$title" "$(date)" >> "$LOG"
    [ -t 1 ] || printf '[%s/5] %s …\n' "$number" "$title"
    set -m  # a process group of its own, so that Ctrl-C can end all of it
    (set -e; "do_$name") < /dev/null >> "$LOG" 2>&1 &
    job=$!
    set +m
    while kill -0 "$job" 2> /dev/null; do
        seconds=$((SECONDS - start))
        if [ -t 1 ]; then
            printf '\r[%s/5] %-44s %s  %-12s' "$number" "$title" "$(clock $seconds)" "$(progress)"
        elif [ $((seconds - shown)) -ge 30 ]; then
            shown=$seconds
            printf '      still at work, %s %s\n' "$(clock $seconds)" "$(progress)"
        fi
        sleep 0.5
    done
    wait "$job" || status=$?
    job=""
    if [ "$status" -ne 0 ]; then
        printf '\n      failed. The end of %s:\n\n' "$LOG"
        tail -n 15 "$LOG" | sed 's/^/      /'
        die "step $number ($title) failed; the whole log is $LOG. Mend the cause and run this again to go on."
    fi
    mark_done "$name"
    [ ! -t 1 ] || printf '\r'
    printf '[%s/5] %-44s %s %-14s\n' "$number" "$title" "$(clock $((SECONDS - start)))" ""
}

# --- the steps; their output goes to the log ----------------------------------------------------------------------

do_venv() {
    "${PYTHON:-python3}" -m venv "$DIR"
    # setuptools, wheel, packaging, ninja: what mmcv's build needs, since it must see the torch of this environment
    "$PY" -m pip install --upgrade "pip>=23.1" "setuptools>=80,<81" wheel "packaging>=24.2" ninja
}

do_torch() {
    local index=()
    if [ "$MODE" = cpu ] && [ -n "$TORCH_INDEX" ]; then
        if reachable "$TORCH_INDEX"; then
            index=(--extra-index-url "$TORCH_INDEX")
        else
            echo "$TORCH_INDEX cannot be reached: torch comes from pip's own index, where it may be the large CUDA build"
        fi
    fi
    "$PY" -m pip install "torch==$TORCH" "${index[@]}"
}

reachable() {  # a dead index must cost seconds, not pip's retries
    timeout 6 "$PY" -c 'import sys, urllib.request
urllib.request.urlopen(urllib.request.Request(sys.argv[1].rstrip("/") + "/torch/", method="HEAD"), timeout=4)' "$1" 2> /dev/null
}

do_mmcv() {
    local wheels
    wheels=$CACHE/mmcv/$("$PY" -c 'import sys, torch, platform
print(f"{sys.implementation.cache_tag}-{platform.machine()}-torch{torch.__version__}")')-$BUILD-recipe$MMCV_RECIPE
    if [ -f "$(echo "$wheels"/onedl_mmcv-"$MMCV"-*.whl)" ]; then
        echo "mmcv was built before: $wheels"
    else
        "$BASH" "$REPO/tools/build_mmcv.sh" "$PY" "$MMCV" "$wheels" "--$MODE"
    fi
    "$PY" -m pip install --no-deps --force-reinstall "$wheels"/onedl_mmcv-"$MMCV"-*.whl
}

do_package() {
    "$PY" -m pip install --editable "${REPO}[train,int8,onnx,ovms,import,tune,dev]" "torch==$TORCH" "onedl-mmcv==$MMCV"
    # imaug, which onedl-mmdetection needs, pulls in opencv-python as well. Both wheels own the folder cv2; the last one
    # stays, and only the headless one imports on a server without libGL.
    local opencv
    opencv=$("$PY" -c 'from importlib.metadata import version; print(version("opencv-python-headless"))')
    "$PY" -m pip install --force-reinstall --no-deps "opencv-python-headless==$opencv"
    "$PY" -m pip check
}

do_check() { "$PY" "$REPO/tools/selfcheck.py"; }

# --- main ---------------------------------------------------------------------------------------------------------

if is_done check && still_there; then
    [ -n "$QUIET" ] || printf '%s is ready.\nNext: %s\n' "$DIR" "tools/quickstart.sh"
    exit 0
fi
check_machine
mkdir -p "$STAMPS"
exec 9> "$STAMPS/lock"
flock -n 9 || die "another init_venv.sh is at work in $DIR; wait for it, or end it."
touch "$LOG"
printf 'Setting up %s; 4 to 8 minutes and 4 GB on 2 cores. Full log: %s\n' "$DIR" "$LOG"
! is_done check || rm -f "$STAMPS"/*  # complete, yet packages are missing: go through every step again
step 1 venv "virtual environment"
step 2 torch "torch $TORCH"
step 3 mmcv "mmcv $MMCV and its ops (compiles for ~3 min)"
step 4 package "this package, mmdet, openvino"
step 5 check "self-check"
sed -n '/^=== \[5/h;//!H;$!d;x;s/^=== [^\n]*\n//;p' "$LOG"
printf 'Ready in %s. Next: %s\n' "$(clock $SECONDS)" "tools/quickstart.sh"
