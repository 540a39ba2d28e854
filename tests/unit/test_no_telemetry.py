"""The libraries that run models report nothing of it."""

import os
import subprocess
import sys

import pytest


def after_importing_us(program, **environment):
    """What a new interpreter prints."""
    command = [sys.executable, "-c", f"import instance_segmentation; {program}"]
    return subprocess.run(command, env=os.environ | environment, capture_output=True, text=True, check=True).stdout.strip()


def test_openvino_has_nobody_to_report_to():
    assert after_importing_us("import openvino; print(type(openvino.tools.ovc.telemetry).__module__)") == \
        "openvino.tools.ovc.telemetry_stub"


def test_onnx_runtime_marks_no_device_and_notes_no_events(tmp_path):
    pytest.importorskip("onnxruntime")
    after_importing_us("import onnxruntime", HOME=str(tmp_path))
    assert not list(tmp_path.rglob("*onnxruntime*"))
