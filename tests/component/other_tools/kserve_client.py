"""Runs in an environment with tritonclient and openvino-model-api: HOST:PORT/v2/models/NAME OUT.npz INPUT.npy.

Sends the network's input twice, by tritonclient with binary tensors and by Model API's OVMSAdapter; writes the raw outputs.
"""

import sys

import numpy as np
import tritonclient.http as triton
from model_api.adapters import OVMSAdapter

url, out, array = sys.argv[1], sys.argv[2], np.load(sys.argv[3])
address, _, _, name = url.split("/")
client = triton.InferenceServerClient(address)
assert client.is_server_live() and client.is_server_ready() and client.is_model_ready(name)
tensor = triton.InferInput("image", list(array.shape), "FP32")
tensor.set_data_from_numpy(array)
answer = client.infer(name, [tensor], outputs=[triton.InferRequestedOutput(part) for part in ("boxes", "labels", "masks")])
found = {part: answer.as_numpy(part) for part in ("boxes", "labels", "masks")}
adapter = OVMSAdapter(url)
assert adapter.get_rt_info(["model_info", "model_type"]).astype(str) == "MaskRCNN"
found |= {f"adapter_{part}": values for part, values in adapter.infer_sync(dict(image=array)).items()}
np.savez(out, **found)
