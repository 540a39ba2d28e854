"""The parity gate: the checkpoint and its exported graph must find the same objects in the same images.

Both get the same resized image. Detections are paired within a label, nearest boxes first, and every pair is compared; when two
masks are the same, `parity_masks` says.
A detection without a partner means an error, or a tie that rounding decided: of boxes that are nearly alike, as with a
little-trained network, TopK and NMS keep one or the other. The family's module (`sides_of`) tells the two apart; ties are counted
and reported.
A pair that differs by more than the tolerance means an error too, or a region that earlier rounding moved: networks whose maps
reach hundreds amplify it. The parts tell these apart as well, each given the graph's own input; such pairs are counted and
reported.
Where nothing is detected the parts are all there is to compare. On a plain black image every anchor ties with its neighbours, so
there only the run, the shapes and that numbers are finite are checked.
"""

import numpy as np

from instance_segmentation.ir import parity_mask_rcnn, parity_rtmdet_ins, parity_yolact, rtmdet_ins, yolact
from instance_segmentation.ir.graph import family_of, resize_of, thresholds_of
from instance_segmentation.ir.parity_facts import wrong_facts
from instance_segmentation.ir.parity_images import images
from instance_segmentation.ir.parity_masks import mask_gap
from instance_segmentation.ir.parity_result import FP16_TOLERANCE, STRICT_TOLERANCE, Gap, Parity, Tolerance
from instance_segmentation.prediction import pair_up
from instance_segmentation.report import progress

__all__ = ["FP16_TOLERANCE", "STRICT_TOLERANCE", "Parity", "Tolerance", "compare", "run_checkpoint", "sides_of"]


def compare(model, exported, image_files=(), channel_order="BGR", tolerance=STRICT_TOLERANCE, two_inputs=False):
    """Run the checkpoint's network and the graph on the same images.

    Args:
        model: The mmdet detector with `input_size`.
        exported: What was built from it, as read from its file: an ov.Model, or the path of an .onnx.
        image_files: The user's images; without any, three images of seeded noise stand in. A black image always follows.
        channel_order: What the graph expects, `BGR` or `RGB`.
        tolerance: Says how far apart two detections may be to count as the same one, and when parts agree.
        two_inputs: Whether the graph is Segmentoly's; images then cover its whole input.

    Returns:
        A Parity.
    """
    read, read_exported, lowest = (family_of(model).CONTRACT.read, family_of(model, two_inputs).CONTRACT.read,
                                   thresholds_of(model).score)
    graph = sides_of(model).graph(exported, channel_order, model)
    result = Parity(real_images=len(image_files), facts=wrong_facts(model, exported, channel_order))
    with progress("comparing with the checkpoint") as show:
        for name, image, *frame in images(resize_of(model), image_files):
            answer, own = graph(image), run_checkpoint(model, image)
            result.images += 1
            show(result.images, (len(image_files) or 3) + 1)
            if not result.note_broken(name, the_checkpoint=own, the_exported_model=answer) and name != "black":
                expected, found = read(own, lowest, model.input_size), read_exported(answer, lowest, model.input_size)
                _compare(result, model, (name, image, frame), expected, found, answer, tolerance)
    return result


def _compare(result, model, of_image, expected, found, answer, tolerance):
    """Note into a Parity how one image's detections differ; `of_image` is its name, tensor and frame (as of `mask_gap`)."""
    name, image, frame = of_image
    pairs, lonely = pair_up(expected, found, tolerance.pair_px)
    gaps = [_gap(expected, found, pair, frame, model, tolerance) for pair in pairs]
    apart = [gap for gap in gaps if not gap.within(tolerance)]
    agree = (apart or lonely or not pairs) and sides_of(model).same_in_parts(model, image, found, answer, tolerance)
    for gap in gaps:
        result.note(gap, tolerance, explained=agree and gap in apart)
    result.silent += not pairs
    if agree:
        result.excused += len(lonely)
    else:
        result.unexplained += [f"{name}: {_describe(expected, found, *item)}" for item in lonely]
        if not pairs and not lonely:
            result.unexplained.append(f"{name}: nothing is detected, and the parts of the network differ")


def sides_of(model):
    """The module that runs a kind of network and its graph for the gate: `graph`, `run_checkpoint`, `same_in_parts`."""
    return {yolact: parity_yolact, rtmdet_ins: parity_rtmdet_ins}.get(family_of(model), parity_mask_rcnn)


def run_checkpoint(model, image):
    """What the checkpoint's graph should answer, by name, to a [3, H, W] uint8 BGR tensor."""
    return sides_of(model).run_checkpoint(model, image)


def _gap(expected, found, pair, frame, model, tolerance):
    """The Gap of a pair (index in expected, index in found)."""
    first, second = pair
    return Gap(float(np.abs(expected.boxes[first] - found.boxes[second]).max()),
               float(np.abs(expected.scores[first] - found.scores[second])),
               mask_gap((expected, first), (found, second), frame, thresholds_of(model).mask, tolerance.mask,
                        sides_of(model).chosen_cells(model)))


def _describe(expected, found, side, index):
    own = (expected, found)[side]
    return (f"only the {'exported model' if side else 'checkpoint'} finds label {own.labels[index]} with score "
            f"{own.scores[index]:.4f} at {np.round(own.boxes[index], 1).tolist()}")
