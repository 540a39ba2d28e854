"""Numbers of objects through a video."""

from dataclasses import replace

import numpy as np
import pytest
from pycocotools import mask as coco_mask

from instance_segmentation.inference.tracking import IouTracker, colours_of
from instance_segmentation.prediction import Prediction


def seen(*objects, size_hw=(60, 200)):
    """A frame with rectangles (x, y, width, height, label)."""
    boxes = np.float64([item[:4] for item in objects]).reshape(-1, 4)
    rles = coco_mask.frPyObjects(boxes, *size_hw) if len(objects) else []
    return Prediction(boxes.astype(np.float32), np.ones(len(objects), np.float32), np.int64([item[4] for item in objects]), rles,
                      ("a", "b"), size_hw)


def painted(*objects, size_hw=(60, 200)):
    """A frame with its picture: rectangles (x, y, width, height, label, colour)."""
    image = np.full((*size_hw, 3), 128, np.uint8)
    for x, y, width, height, _, colour in objects:
        image[y:y + height, x:x + width] = colour
    return replace(seen(*objects, size_hw=size_hw), image_bgr=image)


def numbers(*frames, **options):
    tracker = IouTracker(**options)
    return [tracker(frame).track_ids.tolist() for frame in frames]


def test_moving_objects_keep_their_numbers_in_any_order():
    assert numbers(seen((0, 0, 40, 40, 0), (100, 0, 40, 40, 0)), seen((108, 0, 40, 40, 0), (8, 0, 40, 40, 0)),
                   seen((16, 0, 40, 40, 0), (116, 0, 40, 40, 0))) == [[0, 1], [1, 0], [0, 1]]


def test_moving_object_is_found_again_where_its_speed_brings_it():
    """Missed in two frames, it is 30 px on: its last mask overlaps with an IoU of 0.14 only."""
    path = [seen((x, 10, 40, 40, 0)) for x in (0, 10, 20, 30, 40)]
    assert numbers(*path, seen(), seen(), seen((70, 10, 40, 40, 0)))[-1] == [0]
    assert numbers(*[path[-1]] * 5, seen(), seen(), seen((70, 10, 40, 40, 0)))[-1] == [1]


def test_too_little_overlap_is_another_object():
    assert numbers(seen((0, 0, 40, 40, 0)), seen((0, 30, 40, 40, 0)), seen((60, 30, 40, 40, 0))) == [[0], [1], [2]]


def test_the_own_class_goes_before_the_larger_overlap():
    """The last object overlaps with track 0 by 0.67 and with track 1, of its class, by 0.48."""
    assert numbers(seen((0, 0, 40, 40, 0), (22, 0, 40, 40, 1)), seen((8, 0, 40, 40, 1))) == [[0, 1], [1]]


def test_object_that_is_taken_for_another_class_for_a_while():
    assert numbers(*(seen((x, 0, 40, 40, label)) for x, label in enumerate([0, 0, 1, 1, 0]))) == [[0]] * 5


def test_object_that_is_found_twice():
    """Under another class, and a part of it; its neighbour, and a small thing of another class on it, are others."""
    whole, part, tie, neighbour = (0, 0, 40, 40, 0), (0, 10, 30, 30, 0), (10, 10, 10, 20, 2), (50, 0, 40, 40, 0)
    again = seen((1, 0, 40, 40, 1), part, tie, neighbour)
    assert numbers(seen(whole, part, tie, neighbour), again, seen(part, neighbour)) == [[0, 0, 1, 2], [0, 0, 1, 2], [0, 2]]


def test_pairs_are_chosen_together():
    """Taken one by one, track 1 and the first object would come first: IoU 0.60, and little is left; 0.55 + 0.54 is more."""
    frames = seen((94, 0, 100, 40, 0), (40, 0, 100, 40, 0)), seen((65, 0, 100, 40, 0), (10, 0, 100, 40, 0))
    assert numbers(*frames) == [[0, 1], [0, 1]]


def test_long_track_goes_before_one_that_a_false_detection_began():
    known, false, between = (0, 0, 40, 40, 0), (24, 0, 40, 40, 0), (13, 0, 40, 40, 0)
    assert numbers(*[seen(known)] * 20, seen(false, known), seen(between))[-2:] == [[1, 0], [0]]
    assert numbers(seen(false, known), seen(between))[-1] == [0]  # the false one overlaps more


@pytest.mark.parametrize(("gap", "number"), [(60, 0), (61, 1)])
def test_ages_out(gap, number):
    there = seen((0, 0, 40, 40, 0))
    assert numbers(there, *[seen()] * gap, there)[-1] == [number]


def test_more_objects_than_a_byte_counts():
    crowd = seen(*((x, y, 3, 3, 0) for x in range(0, 200, 5) for y in range(0, 60, 5)))
    assert numbers(crowd, crowd) == [list(range(480))] * 2


def test_nothing_seen():
    assert numbers(seen(), seen()) == [[], []]


def test_a_prediction_is_not_changed_and_its_numbers_are_filtered_with_it():
    frame = seen((0, 0, 40, 40, 0), (100, 0, 40, 40, 0))
    frame.scores[0] = 0.2
    tracked = IouTracker()(frame)
    assert frame.track_ids is None and tracked.above(0.5).track_ids.tolist() == [1]


def test_moving_object_turns_round():
    path = [0, 10, 20, 30, 40, 50, 40, 30]
    assert numbers(*(seen((x, 10, 40, 40, 0)) for x in path)) == [[0]] * 8


def test_thin_ring_that_moves_by_its_own_width():
    """Its masks in neighbouring frames hardly overlap, its boxes do."""
    def ring(x):
        y, columns = np.mgrid[:60, :200]
        distance = np.hypot(y - 30, columns - x)
        rle = coco_mask.encode(np.asfortranarray((distance > 22) & (distance < 26), np.uint8))
        return replace(seen((0, 0, 9, 9, 0)), rles=[rle])
    assert coco_mask.iou(ring(40).rles, ring(48).rles, [0])[0, 0] < 0.3
    assert numbers(ring(40), ring(48)) == [[0], [0]]


RED, BLUE = (20, 20, 200), (200, 40, 20)


@pytest.mark.parametrize("meeting", ["they cross", "they turn round"])
def test_objects_of_a_class_that_hide_each_other_are_told_apart_by_their_colours(meeting):
    """For five frames only the blue one is seen."""
    ways = (RED, range(8, 72, 8)), (BLUE, range(152, 88, -8))
    red, blue = ([(x, 10, 40, 40, 0, colour) for x in path] for colour, path in ways)
    coming = list(zip(red, blue, strict=True))
    swapped = [((*b[:5], RED), (*a[:5], BLUE)) for a, b in coming]
    going = reversed(swapped if meeting == "they cross" else coming)
    frames = [*coming, *[[(80, 10, 40, 40, 0, BLUE)]] * 5, *going]
    assert numbers(*(painted(*frame) for frame in frames)) == [[0, 1]] * len(red) + [[1]] * 5 + [[0, 1]] * len(red)


@pytest.mark.parametrize(("back", "number"), [
    pytest.param((100, 10, 40, 40, 0, RED), 0, id="alike, near"),
    pytest.param((100, 10, 40, 40, 1, RED), 0, id="taken for another class"),
    pytest.param((100, 10, 40, 40, 0, BLUE), 1, id="other colour"),
    pytest.param((150, 10, 40, 40, 0, RED), 1, id="far")])
def test_object_comes_back_apart_from_where_it_was_lost(back, number):
    assert numbers(painted((30, 10, 40, 40, 0, RED)), painted(), painted(back))[-1] == [number]


def test_one_leaves_the_picture_and_another_enters():
    leaving, entering = (0, 0, 30, 60, 0, RED), (40, 0, 30, 60, 0, RED)
    assert numbers(painted(leaving), painted(), painted(entering))[-1] == [1]
    assert numbers(painted((1, 3, 30, 54, 0, RED)), painted(), painted((40, 3, 30, 54, 0, RED)))[-1] == [0]  # not both at an edge


def test_mask_without_pixels_has_no_colours():
    empty = replace(painted((0, 0, 40, 40, 0, RED)), rles=[coco_mask.encode(np.zeros((60, 200), np.uint8, order="F"))])
    assert not colours_of(empty).any() and numbers(empty, painted((50, 0, 40, 40, 0, RED))) == [[0], [1]]
