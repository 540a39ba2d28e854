"""Every kind of model gives the same Prediction; what is none of them is told what it lacks."""

import numpy as np
import pytest

from instance_segmentation.errors import WeightsError
from instance_segmentation.inference.exported import LoadOptions, load_exported
from tests.unit import tiny_models

WHITE = np.full((128, 192, 3), 255, np.uint8)  # twice the models' input
NAMES = dict(labels="otx_empty_lbl cat red_dog")


def area(found):
    return found.masks().sum((1, 2)).tolist()


def covers(pixels):
    """A mask that is certain everywhere lacks a few pixels at its corners, where it fades out."""
    return pytest.approx(pixels, rel=0.01)


@pytest.fixture
def labels(tmp_path):
    def write(*names):
        (tmp_path / "labels.txt").write_text("\n".join(names) + "\n")
        return tmp_path / "labels.txt"
    return write


@pytest.mark.parametrize("batch", [False, True], ids=["this tool's", "OTX's with a batch dimension"])
def test_mask_rcnn(tmp_path, batch):
    model = load_exported(tiny_models.mask_rcnn(tmp_path / "m.xml", batch=batch, rt_info=NAMES))
    found = model(WHITE)
    np.testing.assert_allclose(found.boxes, [[48, 32, 144, 96]])
    assert (found.names(), found.size_hw) == (["red_dog"], (128, 192))
    assert found.scores == pytest.approx([0.9]) and area(found) == [covers(96 * 64)]
    assert len(model(np.zeros_like(WHITE))) == 0


OWN = '{"class_thresholds": [0.3, 0.7], "score_threshold": 0.05}'


@pytest.mark.parametrize("info, given, found, origin", [
    ({}, None, [0.9, 0.6], "the default, for the model has none"),
    (dict(confidence_threshold="0.65"), None, [0.9], "the model's own"),
    (dict(confidence_threshold="0.05", instseg_export='{"score_threshold": 0.05}'), None, [0.9, 0.6],
     "the default, for the model has none"),
    (dict(confidence_threshold="0.65", instseg_export=OWN), None, [0.9, 0.4], "the model's own for each class"),
    (dict(confidence_threshold="0.65", instseg_export=OWN), 0.6, [0.9, 0.6], "as given"),
    (dict(confidence_threshold="0.65", instseg_export=OWN), 0.0, [0.9, 0.6, 0.4, 0.2], "as given"),
], ids=["none", "for all", "none chosen", "by class", "flag", "flag of 0"])
def test_the_models_own_thresholds_hold_unless_another_is_given(tmp_path, info, given, found, origin):
    """Scores of the first class are 0.4 and 0.2, of the second 0.9 and 0.6."""
    boxes = [(0, 0, 20, 20, 0.9), (24, 0, 44, 20, 0.6), (48, 0, 68, 20, 0.4), (72, 0, 92, 20, 0.2)]
    path = tiny_models.mask_rcnn(tmp_path / "m.xml", boxes, [1, 1, 0, 0], NAMES | info)
    model = load_exported(path, LoadOptions(threshold=given))
    prediction = model(WHITE)
    assert prediction.scores == pytest.approx(found) and len(prediction.rles) == len(prediction.labels) == len(found)
    assert model.threshold_origin == origin


def test_segmentoly(tmp_path, labels):
    model = load_exported(tiny_models.segmentoly(tmp_path / "m.xml"), LoadOptions(labels=labels("bg", "cat", "dog", "cow")))
    found = model(WHITE)
    np.testing.assert_allclose(found.boxes, [[48, 32, 144, 96]])
    assert found.names() == ["dog"] and area(found) == [covers(96 * 64)]


def test_segmentoly_is_told_where_the_image_ends(tmp_path, labels):
    options = LoadOptions(labels=labels("cat", "dog", "cow"), resize="fit_to_window")
    found = load_exported(tiny_models.segmentoly(tmp_path / "m.xml"), options)(np.zeros((128, 128, 3), np.uint8))
    np.testing.assert_allclose(found.boxes, [[32, 32, 96, 96]])  # 64 × 64 of the input's 64 × 96 are image


def test_yolact(tmp_path, labels):
    found = load_exported(tiny_models.yolact(tmp_path / "m.xml"), LoadOptions(labels=labels("cat", "dog")))(WHITE)
    np.testing.assert_allclose(found.boxes, [[49.92, 32, 145.92, 96], [48, 0, 96, 128]], rtol=1e-6)
    assert found.names() == ["cat", "dog"] and found.scores == pytest.approx([0.8, 0.6])
    assert area(found) == pytest.approx([46 * 64, 48 * 128], abs=130)  # the left halves, within a column
    assert not found.masks()[:, :, 97:].any()


def test_unknown_kind_is_told_what_it_lacks(tmp_path):
    path = tiny_models.save(dict(boxes=tiny_models.constant(np.zeros((3, 5)))), dict(data=tiny_models.image_input()),
                            tmp_path / "boxes only.xml", NAMES)
    with pytest.raises(WeightsError) as caught:
        load_exported(path)
    message = str(caught.value)
    assert "boxes only.xml" in message and "boxes (rank 2)" in message
    assert "Segmentoly or the Open Model Zoo: lacks input 'im_data', input 'im_info', something to feed 'data' with" in message
    assert "YOLACT: lacks output 'boxes' of rank 3, output 'conf' of rank 3" in message


@pytest.mark.parametrize("lines", [("cat", "dog"), ("background", "cat", "dog"), ("what?", "cat", "dog")])
def test_labels_file_with_or_without_background(tmp_path, labels, lines):
    model = load_exported(tiny_models.mask_rcnn(tmp_path / "m.xml", rt_info=NAMES), LoadOptions(labels=labels(*lines)))
    assert model.classes == ("cat", "dog")


def test_labels_that_do_not_fit(tmp_path, labels):
    path = tiny_models.mask_rcnn(tmp_path / "m.xml", rt_info=NAMES)
    with pytest.raises(WeightsError, match="labels.txt: 4 names, but the model has 2 classes"):
        load_exported(path, LoadOptions(labels=labels(*"abcd")))
    with pytest.raises(WeightsError, match="3 classes"):
        load_exported(tiny_models.segmentoly(tmp_path / "s.xml"), LoadOptions(labels=labels("a")))
    silent = tiny_models.mask_rcnn(tmp_path / "silent.xml")
    with pytest.raises(WeightsError, match="lists no classes(.|\n)*--labels"):
        load_exported(silent)
    with pytest.raises(WeightsError, match="object of class 2, but there are only 1 class names"):
        load_exported(silent, LoadOptions(labels=labels("background", "a")))(WHITE)


def test_layout_mean_and_scale_become_part_of_the_graph(tmp_path):
    """An NHWC model that wants (pixel − 55) / 2 sees an image of 255 as 100."""
    path = tiny_models.mask_rcnn(tmp_path / "m.xml", shape=(1, 64, 96, 3),
                                 rt_info=dict(NAMES, mean_values="55 55 55", scale_values="2 2 2"))
    for layout in (None, "[NHWC]", "image[NHWC]", "image:NHWC"):
        (score,) = load_exported(path, LoadOptions(threshold=0.1, layout=layout))(WHITE).scores
        assert score == pytest.approx(0.9 * 100 / 255, rel=1e-4)
    with pytest.raises(WeightsError, match="--layout other.NHWC.: expected(.|\n)*inputs: image"):
        load_exported(path, LoadOptions(layout="other[NHWC]"))


def test_detections_in_the_padding_are_cut(tmp_path):
    path = tiny_models.mask_rcnn(tmp_path / "m.xml", boxes=[(40, 8, 96, 64, 0.9)], labels=[0],
                                 rt_info=dict(NAMES, resize_type="fit_to_window_letterbox"))
    found = load_exported(path)(WHITE[:128, :128])  # 16 columns of padding on either side
    np.testing.assert_allclose(found.boxes, [[48, 16, 128, 128]])
    assert area(found) == [covers(112 * 80)] and not found.masks()[0][:16].any()


def test_batch_of_several_images(tmp_path):
    with pytest.raises(WeightsError, match="takes 2 images at a time, expected 1"):
        load_exported(tiny_models.mask_rcnn(tmp_path / "m.xml", rt_info=NAMES, shape=(2, 3, 64, 96)))


def test_not_a_model(tmp_path):
    with pytest.raises(WeightsError, match="weights.zip: expected a model ending in"):
        load_exported(tmp_path / "weights.zip")


@pytest.mark.parametrize("threshold", [1.5, 30, -0.1, float("nan")])
def test_a_threshold_that_nothing_reaches(tmp_path, threshold):
    with pytest.raises(WeightsError, match="the score threshold is .*, expected a number from 0 to 1"):
        load_exported(tiny_models.mask_rcnn(tmp_path / "m.xml", rt_info=NAMES), LoadOptions(threshold=threshold))


def test_an_empty_array_is_no_image(tmp_path):
    from instance_segmentation.errors import MediaError
    from instance_segmentation.inference.exported import load_exported
    from tests.unit import tiny_models
    detector = load_exported(tiny_models.mask_rcnn(tmp_path / "m.xml", rt_info=dict(labels="bg cat dog")))
    with pytest.raises(MediaError, match=r"uint8 \(0, 10, 3\)"):
        detector(np.zeros((0, 10, 3), np.uint8))


def test_a_file_of_no_model_is_said_without_a_flag_that_a_program_may_lack(tmp_path):
    from instance_segmentation.inference.exported import load_exported
    with pytest.raises(WeightsError, match=r"^x\.pkl: expected a model .* import-weights"):
        load_exported("x.pkl")
