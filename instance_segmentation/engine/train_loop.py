"""mmengine's epoch loop, which can begin in the middle of an epoch."""

from mmengine.dist import get_rank
from mmengine.registry import LOOPS
from mmengine.runner import EpochBasedTrainLoop

from instance_segmentation.engine.bad_steps import BadStep, go_back
from instance_segmentation.engine.seeding import STEP, seed_everything


@LOOPS.register_module()
class ResumableTrainLoop(EpochBasedTrainLoop):
    """Each step draws its random numbers from the run's seed and its own number (see `seeding`).

    A run that goes on from a checkpoint therefore takes the steps, and the validations, that are left, and no other.

    Args:
        max_rollbacks: How often training may go back to the last good state after a bad step.
        more: Arguments of mmengine's EpochBasedTrainLoop.
    """

    def __init__(self, *more, max_rollbacks=3, **named):
        super().__init__(*more, **named)
        self.max_rollbacks = max_rollbacks

    def run(self):
        """Train and validate until the last epoch, or until a hook sets `stop_training`."""
        self.runner.call_hook("before_train")
        while True:
            if self.validation_is_due():
                self.runner.val_loop.run()
            if self._epoch >= self._max_epochs or self.stop_training:
                break
            try:
                self.run_epoch()
            except BadStep as bad:
                go_back(self.runner, bad, self.max_rollbacks)
        self.runner.call_hook("after_train")
        return self.runner.model

    def validation_is_due(self):
        """Whether an epoch is complete that has not been validated, by this process or by the one it continues."""
        complete = self._epoch >= self.val_begin and self._iter == self._epoch * len(self.dataloader)
        turn = self._epoch % self.val_interval == 0 or self._epoch == self._max_epochs
        validated = self.runner.message_hub.runtime_info.get("validated_epoch", 0)
        return self.runner.val_loop is not None and complete and turn and validated < self._epoch

    def run_epoch(self):
        """Take the steps of this epoch that have not been taken."""
        self.runner.call_hook("before_train_epoch")
        self.runner.model.train()
        done = self._iter - self._epoch * len(self.dataloader)
        self.dataloader.sampler.first = done * self.dataloader.batch_size
        for index, batch in enumerate(self.dataloader, start=done):
            self.run_iter(index, batch)
        self.runner.call_hook("after_train_epoch")
        self._epoch += 1

    def run_iter(self, idx, data_batch):
        """Take one step."""
        seed_everything(STEP, self.runner.seed, self._iter, get_rank())
        super().run_iter(idx, data_batch)
