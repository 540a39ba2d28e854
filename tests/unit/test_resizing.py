"""Resize modes: where the image lies in the input, and boxes back in the image."""

import numpy as np
import pytest

from instance_segmentation.errors import MediaError
from instance_segmentation.inference.resizing import MODES, Resize

IMAGE = np.full((100, 200, 3), 255, np.uint8)


@pytest.mark.parametrize(("mode", "net", "limits", "rows", "columns"), [
    ("standard", (64, 64), None, (0, 64), (0, 64)), ("fit_to_window", (64, 64), None, (0, 32), (0, 64)),
    ("fit_to_window", (64, 64), (64, 48), (0, 24), (0, 48)), ("crop", (64, 64), None, (0, 64), (0, 64)),
    ("fit_to_window_letterbox", (64, 64), None, (16, 48), (0, 64)), ("fit_max", (64, 96), (40, 90), (0, 40), (0, 80)),
    ("fit_max", (64, 96), (45, 90), (0, 45), (0, 90)), ("fit_max", None, (45, 90), (0, 45), (0, 90))])
def test_where_the_image_lies(mode, net, limits, rows, columns):
    seen, placement = Resize(mode, net, limits)(IMAGE)
    net = net or (64, 96)  # a network of any size: what the image needs, up to multiples of 32
    assert placement.net_hw == net
    assert seen.shape == (*net, 3)
    inside = np.zeros(net, bool)
    inside[slice(*rows), slice(*columns)] = True
    np.testing.assert_array_equal(seen.max(2) == 255, inside)


@pytest.mark.parametrize("mode", MODES)
def test_a_marked_corner_comes_back(mode):
    """A white rectangle's box, found in the input, is its box in the image again."""
    image = np.zeros((100, 200, 3), np.uint8)
    image[40:60, 80:120] = 255
    seen, placement = Resize(mode, (96, 128), limits=(96, 128) if mode == "fit_max" else None)(image)
    rows, columns = (np.flatnonzero(seen.max((axis, 2)) > 127) for axis in (1, 0))
    box = placement.to_image(np.float32([[columns[0], rows[0], columns[-1] + 1, rows[-1] + 1]]))
    np.testing.assert_allclose(box, [[80, 40, 120, 60]], atol=1.7)  # a pixel of the input is up to 1.6 of the image


def test_fit_max_keeps_both_limits_in_either_orientation():
    for image, expected in ((IMAGE, (45, 90)), (IMAGE.transpose(1, 0, 2), (90, 45)), (IMAGE[:, :110], (80, 88))):
        inside = Resize("fit_max", limits=(80, 90))(image)[0].max(2) == 255
        assert (inside.any(1).sum(), inside.any(0).sum()) == expected


def test_fit_max_larger_than_the_input():
    with pytest.raises(MediaError, match="--fit_max 80 90: makes 45×90 of an image of 100×200, more than the (.*)64×64"):
        Resize("fit_max", (64, 64), limits=(80, 90))(IMAGE)
