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
