"""Read, check, merge and write COCO instance annotations. Torch-free, and knows nothing of the package but its errors.

The files users have differ in ways that train a wrong network in silence (category order, ids from 0, integer
polygons …). Everything after this package sees one normal form only, described by `Annotations`.
"""

from instance_segmentation.coco.editing import combine, split
from instance_segmentation.coco.reading import category_names, read_annotations, read_document, salvage_annotations
from instance_segmentation.coco.record import Annotations
from instance_segmentation.coco.tiles import tiled

__all__ = ["Annotations", "category_names", "combine", "read_annotations", "read_document", "salvage_annotations", "split",
           "tiled"]
