"""One of two processes that train a small network on the same device: python -m … BACKEND DEVICE; prints a JSON line."""

import hashlib
import json
import os
import sys
from datetime import timedelta

import torch


def main(backend, device):
    import mmengine.device.utils
    from mmengine.model import BaseModel
    from mmengine.optim import OptimWrapper

    from instance_segmentation.engine.replicas import EqualReplicas

    class Small(BaseModel):
        def __init__(self):
            super().__init__()
            self.layers = torch.nn.Sequential(torch.nn.Conv2d(3, 8, 3), torch.nn.BatchNorm2d(8), torch.nn.Conv2d(8, 1, 3))

        def forward(self, images, mode="loss"):
            return dict(loss=self.layers(images).square().mean())

    mmengine.device.utils.DEVICE = device
    if device == "cuda":
        torch.cuda.set_device(0)
    torch.distributed.init_process_group(backend, timeout=timedelta(seconds=60))
    rank = torch.distributed.get_rank()
    value = torch.tensor([rank + 1.0], device=device)
    torch.distributed.all_reduce(value)
    torch.manual_seed(0)
    model = EqualReplicas(Small().to(device), device_ids=[0] if device == "cuda" else None)
    optimizer, losses = OptimWrapper(torch.optim.SGD(model.parameters(), lr=0.1)), []
    for step in range(3):
        images = torch.randn(2, 3, 16, 16, generator=torch.Generator().manual_seed(10 * step + rank))
        losses.append(float(model.train_step(dict(images=images), optimizer)["loss"]))
    digest = hashlib.sha256(b"".join(tensor.cpu().numpy().tobytes() for tensor in model.module.state_dict().values())).hexdigest()
    print(json.dumps(dict(sum=float(value), losses=losses, digest=digest)), flush=True)
    torch.distributed.destroy_process_group()
    os._exit(0)


if __name__ == "__main__":
    main(*sys.argv[1:])
