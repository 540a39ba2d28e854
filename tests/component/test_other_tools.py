"""Other people's programs run our models: Model API, the Open Model Zoo demo's wrappers, tritonclient.

Each runs in an environment of its own, which INSTSEG_MODEL_API_VENV and INSTSEG_OMZ_VENV name; without them it is made by pip.
Everybody pastes masks in their own way (Model API and the demo round boxes first), so small masks are only counted.
"""

import json
import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import cv2
import numpy as np
import pytest
from pycocotools import mask as coco_mask

from instance_segmentation.inference.exported import LoadOptions, load_exported
from instance_segmentation.ir.contract import DEMO, check, read_signature
from instance_segmentation.ir.export import write_ir
from instance_segmentation.prediction import pair_up
from tests.component.kserve_server import NAME, serving
from tests.component.speaking import photo_like, speaking_network
from tests.unit import tiny_models

pytestmark = [pytest.mark.component, pytest.mark.nightly]
CLIENTS, THRESHOLD, SIZE = Path(__file__).parent / "other_tools", 0.3, (192, 256)
MODEL_API = ("openvino-model-api==0.4.7", "tritonclient[http]")
OMZ = ("openvino==2025.4.*", "numpy<2", "opencv-python-headless<4.12", "scipy<1.16")  # the last that has openvino.runtime
ZOO = "openmodelzoo-modelapi==2022.3.0"


def environment(variable, requirements, folder):
    """Path of a virtual environment: the named one, or one made in `folder`."""
    if named := os.environ.get(variable):
        return Path(named)
    subprocess.run([sys.executable, "-m", "venv", folder], check=True)
    pip(folder, *requirements)
    return folder


def pip(folder, *arguments):
    done = subprocess.run([folder / "bin/python", "-m", "pip", "install", "-q", *arguments], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def run(venv, client, *arguments):
    """What a client prints."""
    own = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    done = subprocess.run([venv / "bin/python", CLIENTS / client, *map(str, arguments)], capture_output=True, text=True, env=own)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def model_api(tmp_path_factory):
    return environment("INSTSEG_MODEL_API_VENV", MODEL_API, tmp_path_factory.mktemp("model_api"))


@pytest.fixture(scope="module")
def omz(tmp_path_factory):
    """The environment and the folder with the wrappers, whose package would overwrite OpenVINO's in the environment."""
    venv = environment("INSTSEG_OMZ_VENV", OMZ, tmp_path_factory.mktemp("omz"))
    if not (venv / "zoo").is_dir():
        pip(venv, "--no-deps", "--target", venv / "zoo", ZOO)
    return venv, venv / "zoo"


@pytest.fixture(scope="module")
def network():
    return speaking_network(("ripe fruit", "leaf", "stone"), SIZE)


@pytest.fixture(scope="module")
def xml(network, tmp_path_factory):
    return write_ir(network, tmp_path_factory.mktemp("ir"), origin={}).path


@pytest.fixture(scope="module")
def segmentoly(network, tmp_path_factory):
    """The same with two inputs."""
    return write_ir(network, tmp_path_factory.mktemp("ir"), origin={}, two_inputs=True).path


@pytest.fixture(scope="module")
def photos(sample_data, tmp_path_factory):
    """Sample images, and one like a photo, at the network's input size: resizing differs from program to program."""
    folder = tmp_path_factory.mktemp("photos")
    images = [cv2.imread(str(file)) for file in sorted((sample_data / "val").iterdir())] + [photo_like(SIZE, 3)]
    files = [folder / f"{number}.png" for number in range(len(images))]
    for file, image in zip(files, images, strict=True):
        cv2.imwrite(str(file), cv2.resize(image, SIZE[::-1]))
    return files


def check_same(xml, files, found, box_px):
    """Same number of detections, each with its partner."""
    detector, total, ious = load_exported(xml, LoadOptions(threshold=THRESHOLD)), 0, []
    for number, file in enumerate(files):
        expected = detector(cv2.imread(str(file)))
        other = SimpleNamespace(**{key: found[f"{key}{number}"] for key in ("boxes", "scores", "labels")})
        pairs, alone = pair_up(expected, other, 2.0)
        assert not alone and len(pairs) == len(expected)
        total += len(pairs)
        for first, second in pairs:
            assert np.abs(expected.boxes[first] - other.boxes[second]).max() <= box_px
            assert abs(expected.scores[first] - other.scores[second]) <= 1e-3
            mask = coco_mask.encode(np.asfortranarray(found[f"masks{number}"][second], np.uint8))
            if coco_mask.area(expected.rles[first]) >= 1000:
                ious.append(coco_mask.iou([mask], [expected.rles[first]], [0])[0, 0])
        if f"names{number}" in found:
            assert sorted(found[f"names{number}"]) == sorted(name.replace(" ", "_") for name in expected.names())
    assert total > 20 and len(ious) > 5 and np.median(ious) > 0.9


def test_model_api_finds_the_same(model_api, xml, photos, tmp_path):
    run(model_api, "model_api_client.py", xml, tmp_path / "found.npz", THRESHOLD, *photos)
    check_same(xml, photos, np.load(tmp_path / "found.npz"), box_px=0.51)  # it rounds to whole pixels


@pytest.mark.parametrize("kind", ["xml", "segmentoly"])
def test_the_open_model_zoo_demo_finds_the_same(omz, kind, request, sample_data, tmp_path):
    (venv, zoo), xml = omz, request.getfixturevalue(kind)
    files = sorted((sample_data / "val").iterdir())  # it resizes as we do
    run(venv, "omz_client.py", zoo, "detect", tmp_path / "found.npz", THRESHOLD, xml, *files)
    check_same(xml, files, np.load(tmp_path / "found.npz"), box_px=0.01)


def test_check_ir_refuses_what_the_open_model_zoo_demo_refuses(omz, xml, tmp_path):
    venv, zoo = omz
    models = [xml, *foreign_models(tmp_path)]
    refusals = json.loads(run(venv, "omz_client.py", zoo, "accept", *models))
    ours = {str(model): any(item.failure and DEMO in item.clients for item in check(read_signature(model))) for model in models}
    assert {model: bool(text) for model, text in refusals.items()} == ours, refusals
    assert 3 < sum(map(bool, refusals.values())) < len(models) - 3


def foreign_models(folder):
    """Models of all kinds that the demo runs or refuses when it sees them."""
    image, info = tiny_models.image_input, dict(labels="otx_empty_lbl cat dog")
    yield tiny_models.mask_rcnn(folder / "plain.xml", rt_info=info)
    yield tiny_models.mask_rcnn(folder / "nhwc.xml", shape=(1, 64, 96, 3))
    yield tiny_models.mask_rcnn(folder / "batched.xml", batch=True)
    yield tiny_models.mask_rcnn(folder / "dynamic.xml", shape=(1, 3, -1, -1))
    yield tiny_models.mask_rcnn(folder / "two images.xml", shape=(2, 3, 64, 96))
    yield tiny_models.mask_rcnn(folder / "gray.xml", shape=(1, 1, 64, 96))
    yield tiny_models.yolact(folder / "yolact.xml", sides=(16, 16))
    yield tiny_models.yolact(folder / "yolact with oblong masks.xml")
    yield tiny_models.segmentoly(folder / "segmentoly with batch_ids.xml")
    boxes, masks, saliency = (tiny_models.constant(np.zeros(shape)) for shape in ((1, 5), (1, 14, 14), (1, 3, 8, 8)))
    labels, others = (tiny_models.constant([1], np.int64) for _ in range(2))
    for name, outputs in {
        "two outputs": dict(boxes=boxes, masks=masks),
        "no labels": dict(boxes=boxes, masks=masks, TopK_1=others),
        "with TopK": dict(boxes=boxes, labels=labels, masks=masks, TopK_1=others),
        "saliency map": dict(boxes=boxes, labels=labels, masks=masks, saliency_map=saliency),
        "four columns": dict(boxes=tiny_models.constant(np.zeros((1, 4))), labels=labels, masks=masks),
        "other names": dict(a=boxes, b=labels, c=masks),
    }.items():
        yield tiny_models.save(outputs, dict(data=image()), folder / f"{name}.xml")


def test_tritonclient_and_ovms_adapter_get_the_raw_outputs(model_api, xml, photos, tmp_path):
    detector = load_exported(xml)
    tensor, _ = detector.prepare(cv2.imread(str(photos[-1])))
    np.save(tmp_path / "input.npy", tensor.astype(np.float32))
    with serving(xml) as address:
        run(model_api, "kserve_client.py", f"{address}/v2/models/{NAME}", tmp_path / "found.npz", tmp_path / "input.npy")
    found, expected = np.load(tmp_path / "found.npz"), detector.run(tensor)
    assert len(expected["boxes"]) > 3
    for name in ("boxes", "labels", "masks"):
        for client in ("", "adapter_"):
            np.testing.assert_allclose(found[client + name], expected[name], atol=1e-3)
