"""What is drawn, where, and that it can be seen."""

from dataclasses import replace

import numpy as np
import pytest

from instance_segmentation.inference.drawing import Look, colour_of, draw, note
from tests.unit.test_tracking import seen

BARE = Look(boxes=False, scores=False)


def grey(level, size_hw=(60, 200)):
    return np.full((*size_hw, 3), level, np.uint8)


def test_mask_is_tinted_in_the_colour_of_its_class_and_the_image_stays():
    image, found = grey(100), seen((80, 5, 100, 50, 1))
    drawn = draw(image, found, BARE)
    assert image.min() == image.max() == 100
    np.testing.assert_allclose(drawn[12, 100], 0.55 * 100 + 0.45 * np.array(colour_of(1)), atol=1)
    assert (drawn[:, :70] == 100).all()


def test_tracks_have_colours_of_their_own():
    tracked = replace(seen((80, 5, 100, 50, 1)), track_ids=np.int64([7]))
    np.testing.assert_allclose(draw(grey(100), tracked, BARE)[12, 100], 0.55 * 100 + 0.45 * np.array(colour_of(7)), atol=1)


@pytest.mark.parametrize("level", [0, 255], ids=["dark", "light"])
def test_contour_and_box_stand_out_from_any_ground(level):
    """Beside the contour, within a few pixels, there is something far from the ground's brightness."""
    drawn = draw(grey(level), seen((80, 5, 100, 50, 0)), Look(opacity=0, scores=False)).astype(int)
    assert np.abs(drawn[30, 76:84] - level).max() > 200


def test_lines_and_text_follow_the_resolution_and_can_be_set():
    small, large = Look().for_size((300, 400)), Look().for_size((1600, 2000))
    assert small == (1, 0.4) and large == (4, pytest.approx(1.6))
    assert Look(line_px=7, text_scale=2).for_size((300, 400)) == (7, 2)


def test_switches():
    found, image = seen((80, 20, 100, 30, 0)), grey(100)
    pictures = [draw(image, found, Look(boxes=b, scores=s)) for b in (False, True) for s in (False, True)]
    assert all((a != b).any() for i, a in enumerate(pictures) for b in pictures[:i])


@pytest.mark.parametrize("box", [(0, 0, 9, 9, 0), (190, 50, 10, 10, 0), (0, 0, 200, 60, 1), (150, 0, 0, 0, 1)])
def test_borders_and_an_empty_mask(box):
    assert draw(grey(100), seen(box)).shape == (60, 200, 3)


def test_nothing_found():
    np.testing.assert_array_equal(draw(grey(100), seen()), grey(100))


def test_note():
    canvas = grey(255)
    note(canvas, ["FPS 12.3"])
    assert canvas[:20, :60].min() < 60 and (canvas[40:] == 255).all()


@pytest.mark.parametrize("box", [[np.nan] * 4, [0, 0, np.inf, 9], [-3e38, 0, 3e38, 9], [1e12, 0, 2e12, 9]], ids=str)
def test_boxes_that_are_no_numbers_or_far_outside(box):
    """A device that overflows computes them; the mask is drawn all the same."""
    found = replace(seen((80, 5, 100, 50, 1)), boxes=np.float32([box]))
    drawn = draw(grey(100), found, Look())
    np.testing.assert_allclose(drawn[12, 120], 0.55 * 100 + 0.45 * np.array(colour_of(1)), atol=1)


@pytest.mark.parametrize("name", ["\ud83d", "a\x1b[31m\nb\0", "苹果"], ids=ascii)
def test_names_that_opencv_cannot_take(name):
    """It ends the process for half a character, which a damaged model's JSON can hold."""
    assert (draw(grey(100), replace(seen((80, 20, 100, 30, 0)), classes=(name, "b"))) != 100).any()
