"""Several processes that train one network and stay bit-equal: weights, running statistics, gradients and the losses they see."""

from contextlib import contextmanager, nullcontext

import torch
from mmengine.dist import all_reduce, all_reduce_params
from mmengine.model import MMDistributedDataParallel, revert_sync_batchnorm
from mmengine.registry import MODEL_WRAPPERS

from instance_segmentation.engine.fast_steps import keep_channels_together


@MODEL_WRAPPERS.register_module()
class EqualReplicas(MMDistributedDataParallel):
    """torch's DistributedDataParallel, which averages gradients, and here also what it leaves different.

    Whatever process 0 saves is then what every process has, so a run can be continued exactly, and what one process decides
    from a loss (a bad step, an end), all decide.
    """

    def __init__(self, module, **options):
        if next(module.parameters()).device.type == "cpu":
            module = revert_sync_batchnorm(module)  # mmdet's RTMDet makes it for several processes; CPUs have none
        # DistributedDataParallel looks once, here, at which weights need a gradient, and at their layout. Backbones freeze their
        # first stages in `train` only, and FastSteps wants this layout: changed later, elements of gradients would be mixed up
        trained = [parameter for parameter in module.parameters() if parameter.requires_grad]
        keep_channels_together(module.train())
        super().__init__(module=module, **options)
        for parameter in trained:  # the optimizer shall have the groups of one process: either goes on with the other's run
            parameter.requires_grad_()

    def no_sync(self):
        """Average gradients that are accumulated (`--accumulate`) at every step: process 0 may save them in between."""
        return nullcontext()

    def train_step(self, data, optim_wrapper):
        """Take a step; returns the losses averaged over the processes."""
        losses = super().train_step(data, optim_wrapper)
        all_reduce_params([buffer for buffer in self.module.buffers() if buffer.is_floating_point()], op="mean")
        values = torch.stack([value.detach().float() for value in losses.values()])
        all_reduce(values, "mean")
        return dict(zip(losses, values, strict=True))


@contextmanager
def alone():
    """Inside, code that asks finds no other process and waits for none: losses of mmdet's heads are then of the own images.

    For what the processes do at different times or not equally often, such as validating their shares of the images.
    """
    asked = torch.distributed.is_initialized
    torch.distributed.is_initialized = bool  # False
    try:
        yield
    finally:
        torch.distributed.is_initialized = asked


def any_process(flag):
    """Whether the flag is set in any process; all of them must ask."""
    number = torch.tensor(float(flag))
    all_reduce(number, "max")
    return bool(number)
