"""Several images at a time: the same results in the same order as one by one, and failures that end the loop."""

import numpy as np
import openvino as ov
import pytest
import torch

from instance_segmentation.inference.ahead import infer_ahead
from tests.component.speaking import photo_like, speaking_network

pytestmark = pytest.mark.component
CLASSES = ("berry", "starfish", "stone", "washer")  # the sample data set's


@pytest.fixture(scope="module")
def detector(tmp_path_factory):
    from instance_segmentation.ir.detector import ExportedDetector
    from instance_segmentation.ir.export import write_ir
    return ExportedDetector(write_ir(speaking_network(CLASSES, (96, 128)), tmp_path_factory.mktemp("ir"), origin={}).path).eval()


@pytest.fixture
def doubling():
    """A compiled model of one operation; images of other shapes make OpenVINO fail."""
    image = ov.opset13.parameter([1, 3, 4, 5], np.float32, name="image")
    result = ov.opset13.multiply(image, np.float32(2))
    result.output(0).set_names({"twice"})
    return ov.Core().compile_model(ov.Model([result], [image]), "CPU", {"PERFORMANCE_HINT": "THROUGHPUT"})


def images(number):
    return [(index, np.full((1, 3, 4, 5), index, np.float32)) for index in range(number)]


@pytest.mark.parametrize("number", [0, 1, 2, 25])
def test_order_and_results(doubling, number):
    seen = [(item, float(outputs["twice"][0, 0, 0, 0])) for item, outputs in infer_ahead(doubling, images(number))]
    assert seen == [(index, 2.0 * index) for index in range(number)]


def test_broken_image_ends_the_stream(doubling):
    """What came before the broken image may still be yielded, nothing behind it; nobody waits for ever."""
    broken, seen = images(9), []
    broken[6] = (6, np.zeros((1, 3, 4, 6), np.float32))
    with pytest.raises(RuntimeError):
        seen += [item for item, _ in infer_ahead(doubling, broken)]
    assert 6 not in seen


def test_failing_source_is_heard(doubling):
    def source():
        yield from images(4)
        raise OSError("the disk is gone")
    with pytest.raises(OSError, match="the disk is gone"):
        list(infer_ahead(doubling, source()))


def batches(number, size):
    """Batches of `size` images as the loader makes them."""
    from mmdet.structures import DetDataSample
    meta = dict(img_shape=(96, 128), ori_shape=(192, 256), scale_factor=(0.5, 0.5))
    for first in range(0, number * size, size):
        pixels = [torch.from_numpy(photo_like((96, 128), seed)).permute(2, 0, 1) for seed in range(first, first + size)]
        yield dict(inputs=pixels, data_samples=[DetDataSample(metainfo=dict(meta, img_id=first + i)) for i in range(size)])


@pytest.fixture
def one_compilation(detector, monkeypatch):
    """Streams of one thread round unlike two threads on one image, so compare what the same compiled model finds."""
    monkeypatch.setattr(detector, "compiled", detector.compiled_for_throughput)


def test_stream_equals_test_step(detector, one_compilation):
    """To the bit, batch by batch."""
    expected = [detector.test_step(batch) for batch in batches(4, 2)]
    found = [samples for _, samples in detector.stream(batches(4, 2))]
    assert [[sample.img_id for sample in batch] for batch in found] == [[0, 1], [2, 3], [4, 5], [6, 7]]
    for one, other in zip(sum(expected, []), sum(found, []), strict=True):
        one, other = one.pred_instances, other.pred_instances
        assert len(one) == len(other) > 5 and one.masks == other.masks
        assert torch.equal(one.bboxes, other.bboxes) and torch.equal(one.scores, other.scores)


def test_the_two_compilations_differ_by_rounding(detector):
    expected = [detector.test_step(batch)[0].pred_instances.scores for batch in batches(3, 1)]
    found = [samples[0].pred_instances.scores for _, samples in detector.stream(batches(3, 1))]
    for one, other in zip(expected, found, strict=True):
        np.testing.assert_allclose(one, other, atol=1e-4)


def test_evaluation_is_the_same_one_by_one(detector, one_compilation, sample_data, config_480, tmp_path, monkeypatch):
    """Metrics and every detection; more images than are timed one by one."""
    from instance_segmentation.coco import read_annotations
    from instance_segmentation.engine.evaluation import run_test
    from instance_segmentation.engine.test_loop import ONE_BY_ONE
    from instance_segmentation.ir.detector import ExportedDetector
    annotations = read_annotations([sample_data / "train.json"], [sample_data / "train"], classes=CLASSES, all_classes=False)
    assert len(annotations.images) > ONE_BY_ONE + 1
    answers = []
    for name in ("several", "one"):
        if name == "one":
            monkeypatch.delattr(ExportedDetector, "stream")
            del detector.test_step  # the first run's timer
        (tmp_path / name).mkdir()
        answers.append(run_test(detector, config_480, annotations, tmp_path / name, num_workers=0))
    (metrics, seconds, detections), (metrics_one, seconds_one, detections_one) = answers
    assert len(seconds) == ONE_BY_ONE and len(seconds_one) >= len(annotations.images)
    assert len(detections) > 20 and detections == detections_one
    np.testing.assert_equal(metrics, metrics_one)
