"""Template-driven fine-tuning of instance segmentation, from COCO annotations to a validated OpenVINO IR."""

import sys

__version__ = "0.1.0"

# OpenVINO and NNCF report their use to Google without asking, from a forked process, which at times never ends and then the
# program does not either. They do without this module where it cannot be imported.
sys.modules.setdefault("openvino_telemetry", None)
