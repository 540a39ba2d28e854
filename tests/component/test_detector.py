"""ExportedDetector in the checkpoint's place."""

import json

import cv2
import numpy as np
import pytest
import torch
from pycocotools import mask as coco_mask

from tests.component.speaking import photo_like, speaking_network

pytestmark = pytest.mark.component


@pytest.fixture(scope="module")
def network():
    return speaking_network(("ripe fruit", "leaf"))


@pytest.fixture(scope="module", params=["BGR", "RGB"])
def detector(request, network, tmp_path_factory):
    from mmdet.registry import MODELS

    from instance_segmentation.ir import detector as _  # noqa: F401  registers it
    from instance_segmentation.ir.export import write_ir
    folder = tmp_path_factory.mktemp("ir")
    write_ir(network, folder, origin={}, channel_order=request.param)
    return MODELS.build(dict(type="ExportedDetector", path=str(folder / "model.xml"))).eval()


def batch(image, ori_shape):
    from mmdet.structures import DetDataSample
    height, width = image.shape[:2]
    meta = dict(img_shape=(height, width), ori_shape=ori_shape, scale_factor=(width / ori_shape[1], height / ori_shape[0]))
    return dict(inputs=[torch.from_numpy(image).permute(2, 0, 1).contiguous()], data_samples=[DetDataSample(metainfo=meta)])


def test_facts(detector):
    assert detector.dataset_meta["classes"] == ("ripe fruit", "leaf")
    assert detector.input_size == (128, 160)
    assert detector.size_mp > 10 and detector.complexity_gflops > 5


def test_equals_the_checkpoints_test_step(network, detector):
    """Boxes, scores, labels and masks in pixels of an original image of another size and shape."""
    image = photo_like((128, 160), 7)
    with torch.inference_mode():
        expected = network.test_step(batch(image, (333, 250)))[0].pred_instances
        found = detector.test_step(batch(image, (333, 250)))[0].pred_instances
    assert len(expected) > 5
    np.testing.assert_allclose(found.bboxes, expected.bboxes, atol=0.02)
    np.testing.assert_allclose(found.scores, expected.scores, atol=1e-4)
    assert found.labels.tolist() == expected.labels.tolist()
    ious = [coco_mask.iou([a], [b], [0])[0, 0] for a, b in zip(found.masks, expected.masks, strict=True)
            if coco_mask.area(b) > 50]
    assert min(ious) > 0.99


def test_black_image(network, detector):
    black = np.zeros((128, 160, 3), np.uint8)
    found = detector.test_step(batch(black, (64, 80)))[0].pred_instances
    assert len(found.masks) == len(found.bboxes) == len(found.scores)


def test_unknown_device(detector):
    import openvino as ov
    from openvino import opset13 as op

    from instance_segmentation.errors import WeightsError
    from instance_segmentation.ir.session import compile_ir
    parameter = op.parameter([1], np.float32)
    with pytest.raises(WeightsError, match="OpenVINO device TOASTER(.|\n)*CPU"):
        compile_ir(ov.Model([op.relu(parameter)], [parameter]), "TOASTER")


@pytest.mark.parametrize(("thresholds", "classes_drawn"), [((), 2), ((1.0, 0.0), 1)])
def test_pictures_show_what_reaches_the_models_own_scores(network, thresholds, classes_drawn, tmp_path, monkeypatch):
    from instance_segmentation import api
    from instance_segmentation.engine import drawing
    from instance_segmentation.ir.export import write_ir
    xml = write_ir(network, tmp_path / "ir", origin={}, judge=lambda path: dict(class_thresholds=list(thresholds))).path
    cv2.imwrite(str(tmp_path / "a.png"), photo_like((128, 160), 7))
    (tmp_path / "a.json").write_text(json.dumps(dict(
        images=[dict(id=1, file_name="a.png", height=128, width=160)], annotations=[],
        categories=[dict(id=index, name=name) for index, name in enumerate(network.dataset_meta["classes"], 1)])))
    drawn, draw = [], drawing.draw
    monkeypatch.setattr(drawing, "draw", lambda image, prediction: drawn.append(prediction) or draw(image, prediction))
    api.evaluate(None, load_weights=xml, test_ann_files=[tmp_path / "a.json"], test_data_roots=[tmp_path], num_workers=0,
                 save_output_to=tmp_path / "pictures")
    assert len(set(drawn[0].names())) == classes_drawn and (tmp_path / "pictures/a.png").stat().st_size > 0


@pytest.mark.parametrize(("kind", "pad", "size_hw", "can_resize", "left_to_the_model"), [
    ("standard", 0, (96, 128), True, False), ("standard", 114, (96, 128), True, True),
    ("fit_to_window", 114, (96, 128), True, True),
    ("standard", 0, (100, 128), True, True), ("standard", 0, (96, 128), False, False),
], ids=["the same", "another grey", "another resize", "no multiple of 32", "a checkpoint"])
def test_the_pipeline_resizes_only_as_the_model_wants_it(config_480, kind, pad, size_hw, can_resize, left_to_the_model):
    from types import SimpleNamespace

    from instance_segmentation.engine.evaluation import fit_pipeline
    fit_pipeline(config_480, SimpleNamespace(input_size=size_hw, resize_type=kind, pad_value=pad, can_resize=can_resize))
    steps = [step.type for step in config_480.test_dataloader.dataset.pipeline]
    assert ("Resize" in steps) != left_to_the_model


def test_a_checkpoint_of_another_resize_is_refused(config_480):
    from types import SimpleNamespace

    from instance_segmentation.engine.evaluation import fit_pipeline
    from instance_segmentation.errors import TemplateError
    with pytest.raises(TemplateError, match="resize_type 'standard', but these weights were trained by 'fit_to_window'"):
        fit_pipeline(config_480, SimpleNamespace(input_size=(96, 128), resize_type="fit_to_window", pad_value=114))


def test_whole_images_are_resized_as_the_model_says(tmp_path):
    """An object at (24, 16) … (72, 48) of an input of 64×96, of which an image of 128×128 covers the left 64×64."""
    from mmdet.structures import DetDataSample

    from instance_segmentation.ir.detector import ExportedDetector
    from tests.unit import tiny_models
    model = ExportedDetector(tiny_models.mask_rcnn(tmp_path / "m.xml", rt_info=dict(
        labels="bg cat dog", resize_type="fit_to_window", mean_values="55 55 55")))
    white = torch.full((1, 3, 128, 128), 255, dtype=torch.uint8)
    (sample,) = model(white, [DetDataSample(metainfo=dict(ori_shape=(128, 128)))])
    np.testing.assert_allclose(sample.pred_instances.bboxes, [[48, 32, 128, 96]])
    seen = (64 * 64 * 200 - 64 * 32 * 55) / (64 * 96)  # beside the image it is black
    assert sample.pred_instances.scores.numpy() == pytest.approx([0.9 * seen / 255], rel=1e-3)


@pytest.fixture
def one_image(tmp_path):
    """Arguments of `evaluate`: a model whose classes are called like markup, and an image with an object of the first."""
    from tests.unit import tiny_models
    names = ["bolt [m8]", "x [/m8]"]
    xml = tiny_models.mask_rcnn(tmp_path / "m.xml", labels=(0,), rt_info=dict(label_info=json.dumps(dict(label_names=names))))
    cv2.imwrite(str(tmp_path / "a.png"), np.full((64, 96, 3), 255, np.uint8))
    (tmp_path / "a.json").write_text(json.dumps(dict(
        images=[dict(id=1, file_name="a.png", height=64, width=96)],
        annotations=[dict(id=1, image_id=1, category_id=1, bbox=[24, 16, 48, 32], area=1536, iscrowd=0,
                          segmentation=[[24, 16, 72, 16, 72, 48, 24, 48]])],
        categories=[dict(id=index, name=name) for index, name in enumerate(names, 1)])))
    return dict(work_dir=None, load_weights=xml, test_ann_files=[tmp_path / "a.json"], test_data_roots=[tmp_path],
                num_workers=0, size=(64, 96))


def test_the_table_shows_names_that_look_like_markup(one_image, capsys):
    from instance_segmentation import api
    api.evaluate(**one_image)
    out = capsys.readouterr().out
    assert "bolt [m8]" in out and "x [/m8]" in out


def test_files_of_an_evaluation_are_written_before_its_table_is_printed(one_image, tmp_path, monkeypatch):
    from instance_segmentation import api, evaluation

    def closed(*_):
        raise BrokenPipeError
    monkeypatch.setattr(evaluation, "class_table", closed)
    files = {name: tmp_path / f"out/{name}" for name in ("save_metrics_to", "report", "save_results_to")}
    files = {name: path.with_suffix(".html" if name == "report" else ".yaml") for name, path in files.items()}
    with pytest.raises(BrokenPipeError):
        api.evaluate(**one_image, **files)
    assert [name for name, path in files.items() if not path.is_file()] == []


def test_pictures_never_replace_the_images_they_show(one_image, tmp_path):
    from instance_segmentation import api
    from instance_segmentation.errors import MediaError
    before = (tmp_path / "a.png").read_bytes()
    with pytest.raises(MediaError, match="is an input and would be overwritten"):
        api.evaluate(**one_image, save_output_to=tmp_path)
    assert (tmp_path / "a.png").read_bytes() == before
