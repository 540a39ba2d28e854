"""mmengine's test loop for a model that works on several images at a time."""

from itertools import count, islice

from mmengine.registry import LOOPS
from mmengine.runner import TestLoop

ONE_BY_ONE = 5


@LOOPS.register_module()
class PipelinedTestLoop(TestLoop):
    """Load, infer and post-process different images at the same time; metric and hooks see them in their order.

    The model needs `stream(batches)`, a generator of (batch, what `test_step` returns for it) in the order of the batches.
    The first batches take `test_step` one by one, as in mmengine's loop: the latency of one image can only be measured
    while no other image is on the way.

    Args:
        one_by_one: Number of those first batches.
    """

    def __init__(self, runner, dataloader, evaluator, one_by_one=ONE_BY_ONE):
        super().__init__(runner, dataloader, evaluator)
        self.one_by_one = one_by_one

    def run(self):
        """Test on all batches and return the metrics; what a loader or the model raises ends the loop."""
        runner, batches, number = self.runner, iter(self.dataloader), count()
        runner.call_hook("before_test")
        runner.call_hook("before_test_epoch")
        runner.model.eval()
        for batch in islice(batches, self.one_by_one):
            self.run_iter(next(number), batch)
        for batch, outputs in runner.model.stream(batches):
            self.hand_on(next(number), batch, outputs)
        metrics = self.evaluator.evaluate(len(self.dataloader.dataset))
        runner.call_hook("after_test_epoch", metrics=metrics)
        runner.call_hook("after_test")
        return metrics

    def hand_on(self, index, batch, outputs):
        """Give one finished batch to the metric and the hooks."""
        self.runner.call_hook("before_test_iter", batch_idx=index, data_batch=batch)
        self.evaluator.process(data_samples=outputs, data_batch=batch)
        self.runner.call_hook("after_test_iter", batch_idx=index, data_batch=batch, outputs=outputs)
