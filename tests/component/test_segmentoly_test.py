"""`tools/test.py` with Segmentoly's flags, and one way of resizing for checkpoints and exported models."""

import json

import cv2
import numpy as np
import pytest

from instance_segmentation.cli import segmentoly
from instance_segmentation.errors import WeightsError
from instance_segmentation.inference.exported import LoadOptions, load_exported
from instance_segmentation.inference.model import detector_of
from tests.component.speaking import photo_like, speaking_network
from tests.unit import tiny_models

pytestmark = pytest.mark.component


@pytest.fixture
def dataset(tmp_path):
    """Three images with a `dog` in the middle half; the categories are in another order than the ids."""
    names = [f"{index}.png" for index in range(3)]
    for name in names:
        cv2.imwrite(str(tmp_path / name), np.full((100, 200, 3), 255, np.uint8))
    dog = dict(category_id=2, bbox=[50, 25, 100, 50], area=5000, iscrowd=0,
               segmentation=[[50, 25, 150, 25, 150, 75, 50, 75]])
    (tmp_path / "data.json").write_text(json.dumps(dict(
        images=[dict(id=index, file_name=name, height=100, width=200) for index, name in enumerate(names, 1)],
        annotations=[dict(dog, id=index, image_id=index) for index in range(1, 4)],
        categories=[dict(id=4, name="cow"), dict(id=1, name="cat"), dict(id=2, name="dog")])))
    return str(tmp_path / "data.json")


@pytest.mark.parametrize("resize", ["--fit_max 48 96", "--fit_window 64 96", "--size 64 96"])
def test_two_input_model_is_scored(dataset, tmp_path, capsys, resize):
    xml = tiny_models.segmentoly(tmp_path / "m.xml")
    assert segmentoly.test(["--dataset", dataset, "--ckpt", str(xml.with_suffix(".bin")), "--nw", "0", *resize.split(),
                            "OpenVINO™", "--model", str(xml)]) == 0
    rows = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert ["bbox", "1.000", "1.000", "1.000", "–", "1.000", "–"] in rows  # 5000 pixels are a medium object
    assert [row[:4] for row in rows if row[:1] == ["segm"]] == [["segm", "1.000", "1.000", "1.000"]]


@pytest.fixture(scope="module")
def network():
    return speaking_network(("ripe fruit", "leaf"))


@pytest.fixture(scope="module")
def xml(network, tmp_path_factory):
    from instance_segmentation.ir.export import write_ir
    return write_ir(network, tmp_path_factory.mktemp("ir"), origin=dict(package="test")).path


@pytest.mark.parametrize("flags", [dict(fit_window=(128, 160)), dict(size=(128, 160)), dict(fit_max=(128, 160))], ids=str)
def test_checkpoint_and_ir_take_the_same_images(network, xml, flags):
    photo = photo_like((200, 250), 3)  # the network's shape, so there are no bars
    options = LoadOptions.of_flags(prob_threshold=0.2, **flags)
    expected, found = detector_of(network, options, "net.pth")(photo), load_exported(xml, options)(photo)
    assert len(expected) > 5 and found.labels.tolist() == expected.labels.tolist()
    np.testing.assert_allclose(found.boxes, expected.boxes, atol=0.05)


def test_mean_of_a_model_that_has_one_inside(xml):
    with pytest.raises(WeightsError, match="--mean_pixel: (.*) subtracts its mean itself"):
        load_exported(xml, LoadOptions.of_flags(mean_pixel=(1, 2, 3)))


def test_checkpoint_takes_any_size_and_another_mean():
    network = speaking_network(("ripe fruit", "leaf"), (64, 64))
    mean = network.data_preprocessor.mean.flatten().tolist()
    detector = detector_of(network, LoadOptions.of_flags(fit_max=(100, 230)), "net.pth")
    assert detector.prepare(photo_like((90, 120), 1))[0].shape == (1, 3, 128, 160)
    detector_of(network, LoadOptions.of_flags(fit_window=(64, 64), mean_pixel=(1, 2, 3)), "net.pth")
    assert network.data_preprocessor.mean.flatten().tolist() == [1, 2, 3] != mean
