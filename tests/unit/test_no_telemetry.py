"""Nothing is reported to anyone."""

import subprocess
import sys

PROGRAM = "import instance_segmentation, openvino; print(type(openvino.tools.ovc.telemetry).__module__)"


def test_openvino_has_nobody_to_report_to():
    result = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "openvino.tools.ovc.telemetry_stub"
