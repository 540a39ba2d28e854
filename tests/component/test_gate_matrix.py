"""The gate raises no false alarm, whatever the number of threads and the processor's instructions."""

import json
import os
import subprocess
import sys

import pytest

from tests.component.gate_matrix import FAMILIES

pytestmark = [pytest.mark.component, pytest.mark.nightly, pytest.mark.timeout(7200)]
FEWEST_DETECTIONS = 2000


def test_no_false_alarm(repo):
    """1, 2 and 4 threads, with all instructions and with AVX2's alone."""
    found = []
    for threads in "124":
        for isa in ({}, {"ONEDNN_MAX_CPU_ISA": "AVX2"}):
            command = [sys.executable, "-W", "ignore", "-m", "tests.component.gate_matrix"]
            result = subprocess.run(command, cwd=repo, capture_output=True, text=True,
                                    env={**os.environ, "OMP_NUM_THREADS": threads, **isa})
            assert result.returncode == 0, result.stderr
            lines = [json.loads(line) for line in result.stdout.splitlines() if line.startswith("{")]
            assert {line["family"] for line in lines} == set(FAMILIES)
            found += lines
    for line in found:
        print(f"{line['family']:<11} {line['threads']} threads, {line['isa']:<5} {line['summary']}")
    assert [line for line in found if line["problems"]] == []
    assert sum(line["detections"] for line in found) >= FEWEST_DETECTIONS
