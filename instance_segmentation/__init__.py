"""Template-driven fine-tuning of instance segmentation, from COCO annotations to a validated OpenVINO IR."""

import os
import sys

__version__ = "0.1.0"

# Nobody was asked whether usage may be reported. OpenVINO and NNCF do so from a forked process, which at times never
# ends, and then the program does not either; they do without this module where it cannot be imported. ONNX Runtime reads
# the variable.
sys.modules.setdefault("openvino_telemetry", None)
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
