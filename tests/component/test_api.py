"""A model as a function: a checkpoint, its IR and its ONNX answer alike, one image or many; faster when asked."""

import cv2
import numpy as np
import pytest
import torch

from instance_segmentation.api import LoadOptions, load_model
from instance_segmentation.errors import MediaError, WeightsError
from tests.component.speaking import photo_like, speaking_network

pytestmark = pytest.mark.component
CLASSES = ("ripe fruit", "leaf")
OPTIONS = LoadOptions(threshold=0.3)


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    """Suffix → file of one network."""
    from instance_segmentation.ir.export import write_ir, write_onnx
    network, folder = speaking_network(CLASSES, (96, 128)), tmp_path_factory.mktemp("models")
    write_ir(network, folder, origin={})
    write_onnx(network, folder / "model.onnx", origin={})
    own = dict(classes=list(CLASSES), config=dict(model=network.cfg.model.to_dict(), input_size=[96, 128]))
    torch.save(dict(state_dict=network.state_dict(), meta=dict(instseg=own)), folder / "model.pth")
    return {suffix: folder / f"model.{suffix}" for suffix in ("pth", "xml", "onnx")}


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    folder = tmp_path_factory.mktemp("photos")
    for seed in range(5):
        cv2.imwrite(str(folder / f"{seed}.png"), photo_like((192, 200 + 10 * seed), seed))
    return folder


@pytest.fixture(scope="module", params=["pth", "xml", "onnx"])
def model(request, models):
    return load_model(models[request.param], OPTIONS)


@pytest.fixture(scope="module")
def expected(models, photos):
    """What the checkpoint finds, image by image."""
    detector = load_model(models["pth"], OPTIONS)
    return [detector(str(path)) for path in sorted(photos.iterdir())]


def check_same(found, other):
    assert found.names() == other.names() and len(found) > 0
    np.testing.assert_allclose(found.boxes, other.boxes, atol=0.05)
    np.testing.assert_allclose(found.scores, other.scores, atol=1e-3)
    assert (found.masks() != other.masks()).mean() < 1e-3


def test_one_image_given_as_array_or_path(model, photos, expected):
    image = cv2.imread(str(photos / "2.png"))
    found = model(image)
    check_same(found, expected[2])
    assert found.image_bgr is image and found.draw().shape == image.shape
    assert model(photos / "2.png").source == "2.png"


def test_folder_and_video_in_order(model, photos, expected, tmp_path, capsys):
    for found, other in zip(model.predict(photos, progress=True), expected, strict=True):
        check_same(found, other)
        assert found.source == other.source and (found.image_bgr == other.image_bgr).all()
    writer = cv2.VideoWriter(str(tmp_path / "v.avi"), cv2.VideoWriter.fourcc(*"MJPG"), 12, (200, 192))
    for _ in range(3):
        writer.write(expected[0].image_bgr)
    writer.release()
    assert [found.source for found in model.predict(tmp_path / "v.avi")] == [str(tmp_path / "v.avi")] * 3


def test_tiles_hold_the_whole_image(models, photos):
    found = next(load_model(models["xml"], OPTIONS).predict(photos, tile_px=96))
    assert found.size_hw == found.image_bgr.shape[:2] == (192, 200) and len(found) > 0


@pytest.mark.parametrize("image", [np.zeros((9, 9), np.uint8), np.zeros((9, 9, 3)), None], ids=["grey", "float", "None"])
def test_no_image(models, image):
    with pytest.raises(MediaError, match="expected a path or a numpy array"):
        load_model(models["xml"], OPTIONS)(image)


@pytest.mark.parametrize(("speed", "proposals", "input_hw"), [("fast", 100, (96, 96)), ("rapid", 50, (64, 64))])
def test_faster_models_do_less(models, photos, speed, proposals, input_hw):
    """An export keeps its input and looks at fewer proposals; a checkpoint gets a smaller image."""
    from instance_segmentation.inference.speeds import lighten
    from instance_segmentation.ir.info import read_ir
    from instance_segmentation.ir.limits import Limits, read_limits
    options = LoadOptions(threshold=0.3, speed=speed)
    graph, _ = read_ir(models["xml"])
    lighten(graph, options, 0.3, models["xml"])
    assert read_limits(graph) == Limits(proposals, 0.3)
    exported, checkpoint = (load_model(models[suffix], options) for suffix in ("xml", "pth"))
    assert exported.resize.size_hw == (96, 128) and checkpoint.resize.size_hw == input_hw
    for detector in (exported, checkpoint):
        assert len(detector(photos / "0.png")) > 0


def test_speed_that_cannot_be_had(models):
    with pytest.raises(WeightsError, match="--speed fast: .*model.onnx has a fixed input"):
        load_model(models["onnx"], LoadOptions(speed="fast"))
    with pytest.raises(WeightsError, match="expected fast or rapid"):
        load_model(models["pth"], LoadOptions(speed="slow"))
    with pytest.raises(WeightsError, match="leave out --fit_max and --fit_window"):
        load_model(models["pth"], LoadOptions(speed="fast", limits=(96, 96), resize="fit_to_window"))


@pytest.mark.parametrize("speed", ["fast", "rapid"])
def test_programs_for_pixellibs_speeds(models, photos, tmp_path, monkeypatch, speed):
    monkeypatch.chdir(tmp_path)
    cv2.imwrite("image.jpg", photo_like((192, 240), 0))
    program = f'''from instance_segmentation.pixellib import instanceSegmentation

ins = instanceSegmentation()
ins.load_model("pointrend_resnet50.pkl", detection_speed = "{speed}")
ins.segmentImage("image.jpg", show_bboxes=True, output_image_name="output_image.jpg")
ins.segmentBatch("inputfolder", show_bboxes=True, output_folder_name="outputfolder")'''
    exec(program.replace("pointrend_resnet50.pkl", str(models["xml"])).replace("inputfolder", str(photos)), {})
    assert cv2.imread("output_image.jpg").shape == (192, 240, 3) and len(list((tmp_path / "outputfolder").iterdir())) == 5
