"""CocoDataset over the normalised JSON that `coco.Annotations.write` made, of images or of tiles of images."""

import contextlib
import io

from mmcv.transforms import LoadImageFromFile
from mmdet.datasets import CocoDataset
from mmdet.registry import DATASETS, TRANSFORMS


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

    def parse_data_info(self, raw_data_info):
        """Keep where in its image a tile lies."""
        info, image = super().parse_data_info(raw_data_info), raw_data_info["raw_img_info"]
        return info | dict(tile=image["tile"]) if "tile" in image else info


@TRANSFORMS.register_module()
class LoadTile(LoadImageFromFile):
    """Load the tile of an image that `coco.tiles` describes."""

    def transform(self, results):
        """Read the image and cut the tile out."""
        results, (x, y, width, height) = super().transform(results), results["tile"]
        results["img"] = results["img"][y:y + height, x:x + width]
        results["img_shape"] = results["ori_shape"] = (height, width)
        return results
