#!/usr/bin/env bash
# Lint and every test tier, as CI runs them.
#   tools/run_tests.sh              lint, unit, component, e2e
#   tools/run_tests.sh --fast       lint and unit
#   tools/run_tests.sh --nightly    everything, the long tests included
# INSTSEG_VENV names another environment than venv/, INSTSEG_TEST_DATA a folder of real photos, INSTSEG_BROWSER a Chromium.
set -euo pipefail
repo=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
cd "$repo"

usage() { sed -n '2,6s/^# \{0,1\}//p' "$repo/tools/run_tests.sh"; }

tiers=(unit component e2e fuzz) nightly=(-m "not nightly and not gpu")
case ${1:-} in
    "") ;;
    --fast) tiers=(unit) ;;
    --nightly) nightly=(-m "not gpu") ;;
    -h | --help) usage; exit 0 ;;
    *) usage >&2; exit 2 ;;
esac

venv=${INSTSEG_VENV:-$repo/venv}
heading() { printf '\n=== %s  (%d:%02d)\n' "$1" $((SECONDS / 60)) $((SECONDS % 60)); }
failed=()
section() {  # section NAME COMMAND…: go on after a failure, so that one run shows everything
    heading "$1"
    local name=$1
    shift
    "$@" || failed+=("$name")
}

heading "environment"
./init_venv.sh "$venv"
section "ruff" "$venv/bin/python" -m ruff check .
section "import-linter" "$venv/bin/python" -c 'from importlinter.cli import lint_imports_command as run; run()'
existing=()
for tier in "${tiers[@]}"; do
    [ ! -d "tests/$tier" ] || existing+=("tests/$tier")
done
heading "tests: ${tiers[*]}"
if [ ${#failed[@]} -gt 0 ]; then printf 'failed before the tests: %s\n' "${failed[*]}"; fi
status=0
"$venv/bin/python" -m pytest "${existing[@]}" "${nightly[@]}" || status=$?  # last, so that its summary is the last line
[ ${#failed[@]} -eq 0 ] || exit 1
exit "$status"
