"""Segmentoly's two-input model, exported from a Mask R-CNN: its contract, its gate, and the programs that run it."""

import json
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from instance_segmentation.cli import demo, segmentoly
from instance_segmentation.engine.network import save_network
from instance_segmentation.errors import ExportError
from instance_segmentation.inference.contracts import SEGMENTOLY, contract_of
from instance_segmentation.inference.exported import LoadOptions
from instance_segmentation.inference.model import detector_of
from instance_segmentation.ir.contract import CLIENTS, check, read_signature
from instance_segmentation.ir.export import write_ir
from instance_segmentation.ir.session import compile_ir
from tests.component.speaking import photo_like, speaking_network

pytestmark = pytest.mark.component
CLASSES, SIZE = ("berry", "starfish", "stone", "washer"), (128, 160)


@pytest.fixture(scope="module")
def network():
    return speaking_network(CLASSES, SIZE)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("two_inputs")


@pytest.fixture(scope="module")
def exported(network, folder):
    return write_ir(network, folder / "two", origin=dict(tool="test"), two_inputs=True)


@pytest.fixture(scope="module")
def checkpoint(network, folder):
    save_network(network, folder / "net.pth")
    return folder / "net.pth"


def test_contract(exported):
    signature = read_signature(exported.path)
    inputs, outputs = signature.shapes()
    assert inputs == dict(im_data=(1, 3, *SIZE), im_info=(1, 3)) and contract_of(inputs, outputs, "") is SEGMENTOLY
    assert outputs == dict(boxes=(-1, 4), scores=(-1,), classes=(-1,), raw_masks=(-1, len(CLASSES) + 1, 14, 14))
    refused = {client for item in check(signature) if item.failure for client in item.clients}
    assert refused.isdisjoint(CLIENTS)


def test_gate(exported):
    assert exported.parity.detections > 20 and not exported.parity.unexplained
    assert exported.parity.box_px < 1e-2 and exported.parity.mask_probability < 1e-3


@pytest.mark.parametrize("covered", [SIZE, (96, 160), (128, 96)], ids=str)
def test_the_second_input_is_mmdets_img_shape(network, exported, covered):
    """The image lies in the input's top left corner: boxes end where it ends, on both sides."""
    from mmdet.structures import DetDataSample
    image = np.zeros((*SIZE, 3), np.uint8)
    image[:covered[0], :covered[1]] = photo_like(covered, 5)
    tensor = image.transpose(2, 0, 1)
    sample = DetDataSample(metainfo=dict(img_shape=covered, ori_shape=covered, scale_factor=(1.0, 1.0)))
    data = network.data_preprocessor(dict(inputs=[torch.from_numpy(tensor)], data_samples=[sample]))
    with torch.no_grad():
        features = network.extract_feat(data["inputs"])
        regions = network.rpn_head.predict(features, data["data_samples"], rescale=False)
        expected = network.roi_head.predict_bbox(features, [data["data_samples"][0].metainfo], regions,
                                                 network.test_cfg.rcnn, rescale=False)[0]
    out = compile_ir(_graph(exported))(dict(im_data=tensor[None].astype(np.float32), im_info=np.float32([[*covered, 1]])))
    found = SEGMENTOLY.read({name: out[name] for name in SEGMENTOLY.outputs}, 0.05, SIZE)
    assert len(expected) > 10 and found.labels.tolist() == expected.labels.tolist()
    np.testing.assert_allclose(found.boxes, expected.bboxes, atol=0.01)
    assert (found.boxes[:, 2:] <= covered[::-1]).all() and (found.boxes[:, 2:] == covered[::-1]).any(0).all()


def _graph(result):
    from instance_segmentation.ir.info import read_graph
    return read_graph(result.path)


@pytest.fixture(scope="module")
def photos(folder):
    """Two, of the network's shape and of another one."""
    for number, size_hw in enumerate([(200, 250), (100, 200)]):
        cv2.imwrite(str(folder / f"{number}.png"), photo_like(size_hw, number))
    return [str(folder / f"{number}.png") for number in range(2)]


def objects(weights, photos, folder, *backend):
    """What the demo's front end of Segmentoly finds: (label, score, box) per picture."""
    out = folder / "found.jsonl"
    assert demo.main(["--dataset", str(_dataset(folder)), "--ckpt", str(weights), "--images", *photos, "--fit_window",
                      *map(str, SIZE), "-pt", "0.3", *backend, "--no_show", "--save-json", str(out)]) == 0
    return [[(item["label"], item["score"], *item["box"]) for item in json.loads(line)["objects"]]
            for line in out.read_text().splitlines()]


def _dataset(folder):
    """A COCO file of the classes, without objects."""
    images = [dict(id=number + 1, file_name=f"{number}.png", height=h, width=w) for number, (h, w) in
              enumerate([(200, 250), (100, 200)])]
    (folder / "data.json").write_text(json.dumps(dict(
        images=images, annotations=[], categories=[dict(id=index, name=name) for index, name in enumerate(CLASSES, 1)])))
    return folder / "data.json"


def openvino(exported):
    """The words that name the model."""
    return exported.path.with_suffix(".bin"), ["openvino", "--model", str(exported.path)]


def test_demo_finds_what_the_checkpoint_finds(exported, checkpoint, photos, folder):
    weights, backend = openvino(exported)
    (one,), (two,) = objects(checkpoint, photos[:1], folder, "pytorch"), objects(weights, photos[:1], folder, *backend)
    assert len(two) > 5 and [item[0] for item in two] == [item[0] for item in one]
    np.testing.assert_allclose([item[1:] for item in two], [item[1:] for item in one], atol=0.02)


def test_demo_keeps_boxes_inside_the_picture(exported, photos, folder):
    weights, backend = openvino(exported)
    (found,) = objects(weights, photos[1:], folder, *backend)
    assert len(found) > 3 and max(item[5] for item in found) <= 100 and max(item[4] for item in found) <= 200


@pytest.fixture(scope="module")
def truth(network, photos, folder):
    """What the checkpoint finds with a score above 0.3 in the first photo, as if a person had drawn it."""
    found = detector_of(network, LoadOptions(threshold=0.3), "net.pth")(photos[0])
    images, categories = (json.loads(_dataset(folder).read_text())[key] for key in ("images", "categories"))
    content = dict(images=images[:1], categories=categories, annotations=found.to_coco())
    (folder / "truth.json").write_text(json.dumps(content))
    assert len(found) > 5
    return folder / "truth.json"


def test_the_evaluation_script_finds_all_that_the_checkpoint_finds(exported, truth, capsys):
    weights, backend = openvino(exported)
    assert segmentoly.test(["--dataset", str(truth), "--ckpt", str(weights), "--nw", "0", "--fit_window", *map(str, SIZE),
                            *backend]) == 0
    rows = [line.split()[:4] for line in capsys.readouterr().out.splitlines()]
    assert ["bbox", "1.000", "1.000", "1.000"] in rows and ["segm", "1.000", "1.000", "1.000"] in rows


def test_so_does_the_usual_evaluation(exported, truth):
    from instance_segmentation import api
    result = api.evaluate(None, load_weights=exported.path, test_ann_files=[str(truth)], test_data_roots=[str(truth.parent)],
                          num_workers=0)
    assert result.metrics["bbox/AP"] == result.metrics["segm/AP"] == 1.0


def test_what_is_not_possible_is_said(exported, tmp_path):
    from instance_segmentation.ir.info import read_ir
    from instance_segmentation.ir.quantize import check_quantizable
    with pytest.raises(ExportError, match="Segmentoly's two inputs; give the checkpoint"):
        check_quantizable(*read_ir(exported.path), exported.path)
    from tests.component.test_yolact import small_network
    with pytest.raises(ExportError, match="--segmentoly: is for Mask R-CNN, but the network is a ContractYOLACT"):
        write_ir(small_network(CLASSES), tmp_path / "yolact", origin={}, two_inputs=True)
    assert not list(Path(tmp_path / "yolact").glob("*"))
