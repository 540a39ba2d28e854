"""Runs in an environment with OpenVINO 2025 and Open Model Zoo's wrappers, and does what instance_segmentation_demo.py does.

ZOO detect OUT.npz THRESHOLD MODEL IMAGE…    writes what the demo finds
ZOO accept MODEL…                            prints a JSON: model → why the demo refuses it, empty when it runs
"""

import json
import sys

import cv2
import numpy as np

zoo, verb, *rest = sys.argv[1:]
sys.path.insert(0, f"{zoo}/openvino/model_zoo")
from model_api.adapters import OpenvinoAdapter, create_core  # noqa: E402
from model_api.models import MaskRCNNModel, YolactModel  # noqa: E402


def wrapper_of(model, threshold):
    """What the demo's get_model makes, in float32: bfloat16 finds other boxes."""
    core = create_core()
    core.set_property("CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    adapter = OpenvinoAdapter(core, model)
    yolact = len(adapter.get_input_layers()) == 1 and len(outputs := adapter.get_output_layers()) == 4 and "proto" in outputs
    return (YolactModel if yolact else MaskRCNNModel)(adapter, dict(confidence_threshold=threshold), preload=True)


def refusal(model):
    """Why the demo cannot run a model: the constructor does not look at everything that an image then needs."""
    try:
        wrapper_of(model, 0.5)(np.full((50, 70, 3), 255, np.uint8))
    except Exception as error:  # whatever it is, the demo would end with it
        return f"{type(error).__name__}: {error}"
    return ""


if verb == "accept":
    print(json.dumps({model: refusal(model) for model in rest}))
else:
    out, threshold, model, *images = rest
    wrapper, found = wrapper_of(model, float(threshold)), {}
    for number, image in enumerate(images):
        (scores, classes, boxes, masks), _ = wrapper(cv2.imread(image))
        found |= {f"boxes{number}": boxes, f"scores{number}": scores, f"labels{number}": classes.astype(int) - 1,
                  f"masks{number}": np.array(masks)}
    np.savez_compressed(out, **found)
