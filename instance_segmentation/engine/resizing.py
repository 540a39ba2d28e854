"""Images that keep their aspect ratio in a network's fixed input."""

from mmdet.datasets.transforms import Resize
from mmdet.registry import TRANSFORMS


@TRANSFORMS.register_module()
class FitToWindow(Resize):
    """The largest image of the same aspect ratio within `scale` = (width, height) px, which Pad then fills up.

    mmdet's Resize with keep_ratio turns the window for portraits, so that the network's input stands on end. An exported model's
    input does not turn, and checkpoints shall be trained and evaluated on what it will see: objects of a portrait would be up
    to 1.7 times as large in training.
    """

    def __init__(self, scale, **options):
        super().__init__(scale=scale, keep_ratio=False, **options)

    def _resize_img(self, results):
        """Resize `img` by one factor, rounded to whole pixels as `inference.resizing` rounds them."""
        height, width = results["img"].shape[:2]
        factor = min(self.scale[0] / width, self.scale[1] / height)
        results["scale"] = tuple(max(1, round(side * factor)) for side in (width, height))
        super()._resize_img(results)
