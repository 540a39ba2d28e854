"""One OpenVINO core per process."""

import subprocess
import sys

import pytest

pytestmark = pytest.mark.component

# What training after an evaluation does: the model dies in another thread than the one that loaded it, then a child process ends
SCRIPT = """
import signal, subprocess, threading
import numpy as np, openvino as ov
from instance_segmentation.ir.session import compile_ir
image = ov.opset13.parameter([1, 3], np.float32)
compiled = [compile_ir(ov.Model([ov.opset13.relu(image)], [image]))]
signal.signal(signal.SIGCHLD, lambda *args: None)
thread = threading.Thread(target=compiled.clear)
thread.start()
thread.join()
subprocess.run(["true"], check=True)
print("alive")
"""


def test_signals_are_survived_after_a_model_died_in_another_thread():
    done = subprocess.run([sys.executable, "-c", SCRIPT], capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (0, "alive\n"), done.stderr
