"""Runs in an environment with openvino-model-api: MODEL OUT.npz THRESHOLD IMAGE…; writes what Model API finds."""

import sys

import cv2
import numpy as np
from model_api.adapters import OpenvinoAdapter, create_core
from model_api.models import MaskRCNNModel, Model

model, out, threshold, *images = sys.argv[1:]
plain = Model.create_model(model)  # as in the README: everything comes from the model's own metadata
assert isinstance(plain, MaskRCNNModel)
plain(cv2.imread(images[0]))
# left to itself OpenVINO computes in bfloat16 where the processor can, and then finds other boxes
adapter = OpenvinoAdapter(create_core(), model, device="CPU", plugin_config={"INFERENCE_PRECISION_HINT": "f32"})
wrapper = Model.create_model(adapter, configuration=dict(confidence_threshold=float(threshold)))
found = {}
for number, image in enumerate(images):
    result = wrapper(cv2.imread(image))
    found |= {f"boxes{number}": result.bboxes, f"scores{number}": result.scores, f"labels{number}": result.labels - 1,
              f"masks{number}": result.masks, f"names{number}": np.array(result.label_names or [], str)}
np.savez_compressed(out, **found)
