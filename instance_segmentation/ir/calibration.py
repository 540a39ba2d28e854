"""Images for the statistics of INT8: such that every class, and with it the mask branch, fires. Needs no torch."""

import cv2
import numpy as np

from instance_segmentation.errors import DatasetError, ExportError
from instance_segmentation.inference.resizing import Resize
from instance_segmentation.ir.session import compile_ir
from instance_segmentation.report import progress


def read_input(file, info):
    """An image as the network's input [1, 3, H, W] float32 in 0…255, as evaluation resizes it.

    Raises:
        DatasetError: The file is no readable image.
    """
    image = cv2.imread(str(file))
    if image is None:
        raise DatasetError(f"{file}: cannot be read as an image; calibration (--train-data-roots) needs it")
    image, _ = Resize(info.resize_type, info.input_size, pad_value=info.pad_value)(image)
    if info.channel_order == "RGB":
        image = image[..., ::-1]
    return np.ascontiguousarray(image.transpose(2, 0, 1)[None], np.float32)


def pick(model, info, files, count):
    """Choose calibration images by running the FP32 network on candidates.

    An image without any detection is never chosen: the mask branch then computes on empty tensors, whose minimum and
    maximum ruin the statistics of all others (mask AP fell from 0.35 to 0.04 by a single such image).

    Args:
        model: The FP32 ov.Model.
        info: Its IrInfo; only detections above its `score_threshold` leave the graph.
        files: Candidates, tried in this order.
        count: How many to choose. Images that alone show a missing class come on top.

    Returns:
        The chosen files.

    Raises:
        ExportError: A class fires on none of the candidates.
    """
    compiled, chosen, missing = compile_ir(model), [], set(range(len(info.classes)))
    files, tried = list(files), 0
    with progress("choosing calibration images") as show:
        for tried, file in enumerate(files, 1):
            found = set(np.unique(compiled(read_input(file, info))["labels"]).tolist())
            if found & missing or (found and len(chosen) < count):
                chosen.append(file)
                missing -= found
            show(tried, len(files))
            if len(chosen) >= count and not missing:
                break
    if missing or not chosen:
        raise ExportError(_silent(info, missing, tried))
    return chosen


def _silent(info, missing, tried):
    names = [info.classes[index] for index in sorted(missing)]
    return (f"--train-ann-files, --train-data-roots: no calibration: the FP32 model finds {len(names)} of {len(info.classes)} "
            f"classes on none of {tried} images with a score of at least {info.score_threshold:g}: {', '.join(names)}\n"
            "INT8 ranges can only be measured where the network fires. Give images that show these classes, train longer, or "
            "train without these classes (train.py --classes). Nothing was written.")
