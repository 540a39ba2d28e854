"""`instseg benchmark`: what is timed and what is printed; never how long it took."""

import numpy as np
import pytest

from instance_segmentation.deployment.benchmarking import benchmark
from instance_segmentation.errors import MediaError, WeightsError
from instance_segmentation.ir.speed import Contender, measure
from tests.component.speaking import photo_like, speaking_network

pytestmark = pytest.mark.component


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    from instance_segmentation.ir.export import write_ir
    return write_ir(speaking_network(["a", "b"], (64, 96)), tmp_path_factory.mktemp("export"), origin=dict(precision="FP32")).path


@pytest.fixture
def photo(tmp_path):
    import cv2
    cv2.imwrite(str(tmp_path / "photo.png"), photo_like((50, 70), 0))
    return tmp_path / "photo.png"


def test_table_and_layers_of_an_ir(exported, photo, capsys):
    timings = benchmark([exported], image=photo, runs=2, profile=True)
    assert [item.name for item in timings] == ["IR FP32", "IR FP32, BF16 hint"]
    for item in timings:
        assert 0 < item.low <= item.median <= item.high and item.images_per_second > 0
        assert item.size_mb == pytest.approx(sum(exported.with_suffix(end).stat().st_size for end in (".xml", ".bin")) / 1e6)
    out = capsys.readouterr().out
    assert "1.00x" in out and "Convolution" in out and "photo.png" in out


def test_contenders_take_turns():
    order = []
    contenders = [Contender(name, lambda name=name: order.append(name), lambda count: None) for name in "ab"]
    timings = measure(contenders, 3)
    assert order == ["a", "a", "b", "b"] * 4  # a round is not counted, nor is the first call of each turn
    assert [item.name for item in timings] == ["a", "b"] and np.isnan(timings[0].size_mb)


def test_unreadable_photo_is_named(exported, tmp_path):
    with pytest.raises(MediaError, match="no.jpg"):
        benchmark([exported], image=tmp_path / "no.jpg")


def test_models_of_different_size_are_not_compared(exported, tmp_path):
    from instance_segmentation.ir.export import write_ir
    other = write_ir(speaking_network(["a", "b"], (64, 64)), tmp_path / "other", origin=dict(precision="FP32")).path
    with pytest.raises(WeightsError, match=r"64×96.*64×64.*--input-size"):
        benchmark([exported, other])


@pytest.mark.parametrize(("flags", "expected"), [
    ({}, (96, 128)), (dict(fit_window=(800, 1333)), (800, 1344)), (dict(fit_max=(480, 640)), (480, 480)),
    (dict(size=(128, 160)), (128, 160)),
])
def test_operations_are_those_of_the_size_that_ran(tmp_path, flags, expected):
    import cv2

    from instance_segmentation.deployment.benchmarking import size_that_ran
    from instance_segmentation.inference.exported import LoadOptions
    cv2.imwrite(str(tmp_path / "a.png"), np.zeros((320, 320, 3), np.uint8))
    network = speaking_network(("a", "b"), (96, 128))
    assert size_that_ran(network, LoadOptions.of_flags(**flags), str(tmp_path / "a.png"), "best.pth") == expected
