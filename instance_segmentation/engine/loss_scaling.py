"""Training in float16: gradients below its smallest number would be lost, so the loss is multiplied before they are computed."""

import math

import torch
from mmengine.optim import OptimWrapper
from mmengine.registry import OPTIM_WRAPPERS

START = 2.0 ** 12  # torch's 2 ** 16 costs short runs their first steps; mmdet's published configs have 2 ** 9
GROWS_AFTER = 500  # steps without an overflow


@OPTIM_WRAPPERS.register_module()
class ScaledOptimWrapper(OptimWrapper):
    """mmengine's OptimWrapper around torch's GradScaler.

    An update whose gradients overflowed is left out and the scale halved. That is no bad step: the loss itself and the weights
    stay finite. Unlike mmengine's AmpOptimWrapper it leaves to FastSteps which layers compute in float16.

    Args:
        scale: The first factor; START when None.
        more: Arguments of OptimWrapper.
    """

    def __init__(self, *more, scale=None, **named):
        super().__init__(*more, **named)
        device = self.optimizer.param_groups[0]["params"][0].device.type
        self.scaler = torch.amp.GradScaler(device, init_scale=scale or START, growth_interval=GROWS_AFTER)

    def backward(self, loss, **kwargs):
        """Compute the gradients of the scaled loss."""
        self.scaler.scale(loss).backward(**kwargs)
        self._inner_count += 1

    def step(self, **kwargs):
        """Update the weights, unless a gradient is not finite."""
        if self.clip_grad_kwargs:
            self.scaler.unscale_(self.optimizer)
            self._clip_grad()
        self.scaler.step(self.optimizer, **kwargs)
        self.scaler.update()

    def _clip_grad(self):
        """Clip the gradients; an infinite norm, whose update is left out, is not logged."""
        weights = [weight for group in self.optimizer.param_groups for weight in group["params"] if weight.grad is not None]
        norm = float(self.clip_func(weights, **self.clip_grad_kwargs)) if weights else math.inf
        if math.isfinite(norm):
            self.message_hub.update_scalar(f"train/{self.grad_name}", norm)

    def state_dict(self):
        """The optimizer's state and the scale."""
        return {**super().state_dict(), "loss_scaler": self.scaler.state_dict()}

    def load_state_dict(self, state_dict):
        """Take up both again; a run that was not float16 before has no scale."""
        state_dict = dict(state_dict)
        if "loss_scaler" in state_dict:
            self.scaler.load_state_dict(state_dict.pop("loss_scaler"))
        super().load_state_dict(state_dict)
