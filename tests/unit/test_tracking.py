"""Numbers of objects through a video."""

import numpy as np
import pytest
from pycocotools import mask as coco_mask

from instance_segmentation.inference.tracking import IouTracker
from instance_segmentation.prediction import Prediction


def seen(*objects, size_hw=(60, 200)):
    """A frame with rectangles (x, y, width, height, label)."""
    boxes = np.float64([item[:4] for item in objects]).reshape(-1, 4)
    rles = coco_mask.frPyObjects(boxes, *size_hw) if len(objects) else []
    return Prediction(boxes.astype(np.float32), np.ones(len(objects), np.float32), np.int64([item[4] for item in objects]), rles,
                      ("a", "b"), size_hw)


def numbers(*frames, **options):
    tracker = IouTracker(**options)
    return [tracker(frame).track_ids.tolist() for frame in frames]


def test_moving_objects_keep_their_numbers_in_any_order():
    assert numbers(seen((0, 0, 40, 40, 0), (100, 0, 40, 40, 0)), seen((108, 0, 40, 40, 0), (8, 0, 40, 40, 0)),
                   seen((16, 0, 40, 40, 0), (116, 0, 40, 40, 0))) == [[0, 1], [1, 0], [0, 1]]


def test_another_class_or_too_little_overlap_is_another_object():
    assert numbers(seen((0, 0, 40, 40, 0)), seen((0, 0, 40, 40, 1)), seen((0, 20, 40, 40, 1))) == [[0], [1], [2]]


def test_pairs_are_chosen_together():
    """Taken one by one, track 0 and the first object would come first: IoU 0.90, and 0.58 is left, less than 0.83 + 0.78."""
    frames = seen((0, 0, 100, 40, 0), (0, 0, 70, 40, 0)), seen((0, 0, 90, 40, 0), (0, 0, 120, 40, 0))
    assert numbers(*frames) == [[0, 1], [1, 0]]


@pytest.mark.parametrize(("gap", "number"), [(10, 0), (11, 1)])
def test_ages_out(gap, number):
    there = seen((0, 0, 40, 40, 0))
    assert numbers(there, *[seen()] * gap, there)[-1] == [number]


def test_nothing_seen():
    assert numbers(seen(), seen()) == [[], []]


def test_a_prediction_is_not_changed_and_its_numbers_are_filtered_with_it():
    frame = seen((0, 0, 40, 40, 0), (100, 0, 40, 40, 0))
    frame.scores[0] = 0.2
    tracked = IouTracker()(frame)
    assert frame.track_ids is None and tracked.above(0.5).track_ids.tolist() == [1]
