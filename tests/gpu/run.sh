#!/usr/bin/env bash
# Run tests/gpu on a machine that has torch for CUDA and pytest, but neither mmcv nor a network, within 12 minutes.
#   tests/gpu/run.sh fetch DIR [PYTHON_VERSION]   with a network: put what that machine lacks into DIR (for Python 3.12)
#   tests/gpu/run.sh setup [DIR]                  there: install it from DIR, compile mmcv's ops (5 minutes at most)
#   tests/gpu/run.sh check [REPORT]               there: run the tests (6 minutes at most), leave a JSON of them
#   tests/gpu/run.sh all [DIR] [REPORT]           setup and check
# Where the ops do not compile, stand-ins take their place, and the JSON says which tests were skipped for it.
# INSTSEG_GPU_TESTS_DEVICE=cpu is a dry run. INSTSEG_GPU_SITE (default /tmp/instseg-gpu) is the folder of the packages.
set -euo pipefail
repo=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
cd "$repo"
site=${INSTSEG_GPU_SITE:-/tmp/instseg-gpu} python=${PYTHON:-python3}
mmcv=$(sed -n 's/^TORCH=.* MMCV=//p' init_venv.sh)
export PYTHONPATH=$repo:$site${PYTHONPATH:+:$PYTHONPATH}

fetch() {
    local platforms=() tag
    for tag in manylinux_2_28 manylinux_2_27 manylinux_2_17 manylinux2014 manylinux1; do
        platforms+=(--platform "${tag}_x86_64")
    done
    mkdir -p "$1"
    "$python" -m pip download --no-deps --only-binary=:all: --python-version "${2:-3.12}" --implementation cp "${platforms[@]}" \
        -d "$1" -r tests/gpu/wheels.txt
    "$python" -m pip wheel -q --no-deps --no-build-isolation -w "$1" "onedl-mmdetection==3.5.1"  # no wheel is published
    "$python" -m pip download --no-deps --no-binary=:all: --no-build-isolation -d "$1" "onedl-mmcv==$mmcv"
}

has_ops() { "$python" -c 'import torch, mmcv._ext' 2> /dev/null; }

setup() {
    local wheels
    wheels=$(realpath "$1")
    "$python" -m pip install -q --no-index --no-deps --no-compile --upgrade --target "$site" "$wheels"/*.whl
    if has_ops; then return; fi
    local mode=--cuda
    [ "${INSTSEG_GPU_TESTS_DEVICE:-cuda}" != cpu ] || mode=--cpu
    if PIP_NO_INDEX=1 PIP_FIND_LINKS=$wheels MAX_JOBS=$(nproc) timeout 300 tools/build_mmcv.sh "$python" "$mmcv" "$site/wheel" "$mode" \
            > "$site/build.log" 2>&1; then
        "$python" -m pip install -q --no-index --no-deps --no-compile --upgrade --target "$site" "$site"/wheel/onedl_mmcv-*.whl
    else
        echo "mmcv's ops did not compile here, stand-ins take their place; the end of $site/build.log:"
        tail -n 5 "$site/build.log"
        mkdir -p "$site/source"
        tar -xf "$wheels"/onedl_mmcv-*.tar.gz -C "$site/source" --strip-components 1
        rm -rf "$site/mmcv"
        cp -r "$site/source/mmcv" "$site/mmcv"
        cp tests/gpu/stand_in_ops.py "$site/mmcv/_ext.py"
    fi
}

check() {
    INSTSEG_GPU_REPORT=$(realpath -m "$1") timeout --signal INT 360 "$python" -m pytest -q -p no:cacheprovider -W default tests/gpu
}

case ${1:-} in
    fetch) fetch "$2" "${3:-3.12}" ;;
    setup) setup "${2:-.whl}" ;;
    check) check "${2:-gpu_check.json}" ;;
    all) setup "${2:-.whl}"; check "${3:-gpu_check.json}" ;;
    *) sed -n '2,8s/^# \{0,1\}//p' "${BASH_SOURCE[0]}" >&2; exit 2 ;;
esac
