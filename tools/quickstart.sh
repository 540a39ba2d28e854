#!/usr/bin/env bash
# From a fresh clone to a validated OpenVINO model, on sample data or with --data DIR on yours. See --help.
# INSTSEG_VENV names another environment than venv/.
set -euo pipefail
repo=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
venv=${INSTSEG_VENV:-$repo/venv}
"$repo/init_venv.sh" --quiet "$venv"
exec "$venv/bin/instseg" quickstart "$@"
