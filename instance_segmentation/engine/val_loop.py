"""mmengine's validation loop, which also computes the losses that training computes."""

import torch
from mmengine.logging import HistoryBuffer
from mmengine.registry import LOOPS
from mmengine.runner import ValLoop

from instance_segmentation.engine.seeding import VALIDATION, seed_everything


@LOOPS.register_module()
class ValLoopWithLoss(ValLoop):
    """Add `val_loss`, the sum, and its parts `loss_cls`, `loss_mask`, … to the metrics: means over the batches.

    The dataset must load annotations, whose objects mmdet samples at random: always the same ones, so that epochs can be
    compared. Normalisation layers use their running statistics, so the number is not quite a training loss's.
    """

    @torch.no_grad()
    def run_iter(self, idx, data_batch):
        """Predict one batch, then compute its losses."""
        super().run_iter(idx, data_batch)
        seed_everything(VALIDATION, idx)
        model = getattr(self.runner.model, "module", self.runner.model)
        data = model.data_preprocessor(data_batch, False)
        _, losses = model.parse_losses(model.loss(data["inputs"], data["data_samples"]))
        for name, value in losses.items():
            if name.startswith("loss_"):
                self.val_loss.setdefault(name, HistoryBuffer()).update(float(value))
