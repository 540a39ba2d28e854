"""Models that other tools write and that cannot be run here, told by what they show from outside. Needs no torch."""

from dataclasses import dataclass

from instance_segmentation.inference.shapes import is_fixed


@dataclass(frozen=True)
class Stranger:
    """A model of another tool: what it is, what runs it, in words, and whether that is Model API."""

    title: str
    remedy: str
    model_api: bool = False

    def __str__(self):
        return f"{self.title}. This tool cannot run it; {self.remedy}"


YOLO = Stranger("a YOLO, as Ultralytics exports it",
                "run it with ultralytics: YOLO('the folder of the .xml, or the .onnx', task='segment')('a.jpg')")
GETITUNE_YOLO = Stranger("a YOLO of getitune", "run it with Model API", True)
RF_DETR = Stranger("an RF-DETR", "run it with the program that exported it (rfdetr)")
DETR = Stranger("a DETR of getitune, whose masks cover the whole image", "run it with Model API", True)


def stranger_of(outputs, entries=None):
    """The Stranger that a model is, or None.

    Args:
        outputs: Name → shape; lengths that are no positive number are not fixed.
        entries: Its `model_info` entries, key → text; None when they are not known.
    """
    entries = entries or {}
    kind, shapes = entries.get("model_type", "").upper(), list(outputs.values())
    if kind == "DETRINSTSEG":
        return DETR
    if kind.startswith("YOLO") or _is_yolo(shapes):
        return GETITUNE_YOLO if "getitune_version" in entries else YOLO
    return RF_DETR if _is_rf_detr(outputs) else None


def _is_yolo(shapes):
    """Boxes, scores and coefficients in one output of rank 3, prototypes [1, k, h, w] in the other."""
    if sorted(map(len, shapes)) != [3, 4]:
        return False
    found, prototypes = sorted(shapes, key=len)
    coefficients = prototypes[1]
    # one row per box in the network's order, or, where the network does its NMS, one per detection
    columns = [side for side in found[1:] if is_fixed(side)]
    return is_fixed(coefficients) and any(side > coefficients + 4 for side in columns)


def _is_rf_detr(outputs):
    """Boxes [1, q, 4], classes [1, q, c] and masks [1, q, h, w]."""
    shapes = sorted(outputs.values(), key=len)
    if [len(shape) for shape in shapes] != [3, 3, 4]:
        return False
    queries = {shape[1] for shape in shapes}
    return set(outputs) == {"dets", "labels", "masks"} or (len(queries) == 1 and 4 in (shapes[0][2], shapes[1][2]))
