"""CocoDataset over the normalised JSON that `coco.Annotations.write` made."""

import contextlib
import io

from mmdet.datasets import CocoDataset
from mmdet.registry import DATASETS


@DATASETS.register_module()
class NormalisedCocoDataset(CocoDataset):
    """mmdet's dataset, quiet, with labels that are certain.

    mmdet numbers labels by the JSON's category order, not by `metainfo["classes"]`; the normalised JSON's order is the
    class list's. Images without objects stay: they were selected on purpose.
    """

    def load_data_list(self):
        """Read the annotation file without pycocotools' chatter."""
        with contextlib.redirect_stdout(io.StringIO()):
            return super().load_data_list()
