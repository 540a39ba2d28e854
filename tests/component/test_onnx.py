"""The ONNX model: operators, agreement with the checkpoint, metadata, and the same evaluator."""

import numpy as np
import pytest
import torch

from instance_segmentation import api
from instance_segmentation.errors import DownloadError, WeightsError
from tests.component.speaking import photo_like, speaking_network

pytestmark = pytest.mark.component
CLASSES = ("ripe fruit", "Blüte", "leaf")
FACTS = dict(confidence_threshold=0.4, class_thresholds=(0.4, 0.35, 0.6))


def written(model, folder, **options):
    from instance_segmentation.ir.export import write_onnx
    return write_onnx(model, folder / "model.onnx", origin=dict(tool="test"), **options)


@pytest.fixture(scope="module")
def network():
    return speaking_network(CLASSES, (96, 128))


@pytest.fixture(scope="module")
def exported(network, tmp_path_factory):
    return written(network, tmp_path_factory.mktemp("onnx"), template="small-template", facts=FACTS)


def test_gate_passed_with_boxes_within_a_thousandth_of_a_pixel(exported):
    assert exported.parity.detections > 50 and not exported.parity.unexplained
    assert exported.parity.box_px <= 1e-3


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of the exporter
def test_sure_scores_are_rounded_as_by_torch():
    """Near 1 only few float32 numbers are left; ONNX Runtime's own Sigmoid falls in places and rounds a third otherwise."""
    import io

    from instance_segmentation.ir.onnx_graph import ExactSigmoid
    from instance_segmentation.ir.onnx_session import OnnxSession
    logits, written = torch.linspace(-20, 20, 100_001), io.BytesIO()
    torch.onnx.export(ExactSigmoid(), (logits,), written, dynamo=False, input_names=["image"], output_names=["scores"])
    scores = torch.from_numpy(OnnxSession(written.getvalue())(logits.numpy())["scores"])
    sure = logits > 5
    assert (scores.diff() >= 0).all()
    assert (scores != logits.sigmoid())[sure].float().mean() < 1e-3  # processors round exp differently now and then
    torch.testing.assert_close(scores, logits.sigmoid(), rtol=1e-6, atol=0)


def test_standard_operators_only(exported):
    import onnx
    model = onnx.load(exported.path)
    assert {node.domain for node in model.graph.node} == {""} and [item.domain for item in model.opset_import] == [""]
    assert [output.name for output in model.graph.output] == ["boxes", "labels", "masks"]
    assert [dim.dim_value for dim in model.graph.input[0].type.tensor_type.shape.dim] == [1, 3, 96, 128]


@pytest.mark.parametrize("case", [
    dict(classes=["person"], template="576x576", size_hw=(128, 96)),
    dict(classes=["a", "b"], size_hw=(96, 96), model__roi_head__bbox_head__reg_class_agnostic=True,
         model__test_cfg__rcnn__max_per_img=7, model__test_cfg__rpn__nms_pre=200),
    dict(classes=["a", "b"], size_hw=(96, 64), model__data_preprocessor__bgr_to_rgb=True,
         model__data_preprocessor__std=[58.4, 57.1, 57.4], channel_order="RGB"),
], ids=["576 template", "class-agnostic boxes", "RGB client"])
def test_other_networks(case, tmp_path):
    order = case.pop("channel_order", "BGR")
    result = written(speaking_network(**case), tmp_path, channel_order=order)
    assert result.parity.detections > 5 and result.info.channel_order == order


def test_metadata_equals_the_irs(network, exported, tmp_path):
    from instance_segmentation.ir.export import write_ir
    from instance_segmentation.ir.onnx_session import read_onnx
    ir = write_ir(network, tmp_path, origin=dict(tool="test"), template="small-template", judge=lambda xml: FACTS)
    run, info = read_onnx(exported.path)
    assert info == ir.info and info.class_thresholds == FACTS["class_thresholds"]
    metadata = run.session.get_modelmeta().custom_metadata_map
    assert metadata["model_info model_type"] == "MaskRCNN"
    assert metadata["model_info labels"] == "otx_empty_lbl ripe_fruit Blüte leaf"


def test_nothing_found(network, tmp_path):
    from instance_segmentation.ir.onnx_session import read_onnx
    silent = speaking_network(CLASSES, (64, 64), model__test_cfg__rcnn__score_thr=1.0)
    run, _ = read_onnx(written(silent, tmp_path).path)
    found = run(np.zeros((1, 3, 64, 64), np.float32))
    assert [found[name].shape for name in ("boxes", "labels", "masks")] == [(0, 5), (0,), (0, 14, 14)]


def test_damaged_file_is_named(tmp_path):
    from instance_segmentation.ir.onnx_session import read_onnx
    (tmp_path / "model.onnx").write_bytes(b"no model")
    with pytest.raises(WeightsError, match="model.onnx: ONNX Runtime cannot read it"):
        read_onnx(tmp_path / "model.onnx")


def test_detector_answers_like_the_ir(network, exported, tmp_path):
    from mmdet.structures import DetDataSample

    from instance_segmentation.ir.detector import ExportedDetector
    from instance_segmentation.ir.export import write_ir
    image = torch.from_numpy(photo_like((96, 128), 1)).permute(2, 0, 1)
    answers = []
    for path in (exported.path, write_ir(network, tmp_path, origin={}).path):
        sample = DetDataSample(metainfo=dict(scale_factor=(0.5, 0.5), ori_shape=(192, 256)))
        answers.append(ExportedDetector(path)(image[None], [sample])[0].pred_instances)
    one, other = answers
    assert len(one) == len(other) > 5
    assert (one.bboxes - other.bboxes).abs().max() < 1e-2 and torch.equal(one.labels, other.labels)


def test_convert_without_weights_or_network_says_so(tmp_path, monkeypatch):
    def offline(*args, **options):
        raise DownloadError("no network")
    monkeypatch.setattr("instance_segmentation.deployment.exporting.fetch", offline)
    with pytest.raises(DownloadError, match="no network"):
        api.convert_to_onnx("efficientnet_b2b-mask_rcnn-480x480", tmp_path / "a.onnx")
    assert not list(tmp_path.iterdir())
