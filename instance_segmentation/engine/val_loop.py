"""mmengine's validation loop, which also computes the losses that training computes."""

from collections import Counter

import torch
from mmengine.dist import all_gather_object, get_rank, get_world_size
from mmengine.registry import LOOPS
from mmengine.runner import ValLoop

from instance_segmentation.engine.replicas import alone
from instance_segmentation.engine.seeding import VALIDATION, seed_everything


@LOOPS.register_module()
class ValLoopWithLoss(ValLoop):
    """Add `val_loss`, the sum, and its parts `loss_cls`, `loss_mask`, … to the metrics: means over the batches.

    The dataset must load annotations, whose objects mmdet samples at random: always the same ones, so that epochs can be
    compared. Normalisation layers use their running statistics, so the number is not quite a training loss's.
    """

    def run(self):
        """Validate on this process's share of the images; returns the metrics of all images, in every process."""
        runner, self.sums = self.runner, Counter()
        runner.call_hook("before_val")
        runner.call_hook("before_val_epoch")
        runner.model.eval()
        for index, batch in enumerate(self.dataloader):
            self.run_iter(index, batch)
        metrics = self.evaluator.evaluate(len(self.dataloader.dataset)) | self.mean_losses()
        runner.call_hook("after_val_epoch", metrics=metrics)
        runner.call_hook("after_val")
        return metrics

    @torch.no_grad()
    def run_iter(self, idx, data_batch):
        """Predict one batch, then compute its losses."""
        super().run_iter(idx, data_batch)
        seed_everything(VALIDATION, idx * get_world_size() + get_rank())
        model = self.runner.network
        data = model.data_preprocessor(data_batch, False)
        with alone():  # RTMDet's loss would meet the other processes, of which some have fewer images
            _, losses = model.parse_losses(model.loss(data["inputs"], data["data_samples"]))
        parts = {name: float(value) for name, value in losses.items() if name.startswith("loss_")}
        self.sums.update(parts | dict(val_loss=sum(parts.values()), batches=1))

    def mean_losses(self):
        """Means over the batches of all processes."""
        total = Counter()
        for sums in all_gather_object(self.sums):
            total.update(sums)
        return {name: value / total["batches"] for name, value in total.items() if name != "batches"}
