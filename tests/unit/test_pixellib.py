"""Programs written for PixelLib run: its documentation's, the model's file and the import line aside; no torch."""

import cv2
import numpy as np
import pytest

from instance_segmentation.errors import WeightsError
from instance_segmentation.inference.sources import open_source
from instance_segmentation.pixellib import instanceSegmentation
from tests.unit import tiny_models

BOXES, LABELS = ((10, 10, 40, 50, 0.98), (50, 12, 90, 40, 0.7), (4, 4, 20, 20, 0.4)), (0, 1, 0)  # in 64×96; images are twice that

# Read from PixelLib's "Instance Segmentation of Images in Pytorch"; each begins with the first three lines
PROGRAMS = {
    "image": 'ins.segmentImage("image.jpg", show_bboxes=True, output_image_name="output_image.jpg")',
    "results": """results, output = ins.segmentImage("image.jpg", show_bboxes=True, output_image_name="result.jpg")
print(results)""",
    "points": 'ins.segmentImage("sample.jpg", show_bboxes=True, mask_points_values=True,  output_image_name="output.jpg")',
    "threshold": 'ins.load_model("pointrend_resnet50.pkl", confidence = 0.3)',
    "resnet101": """ins.load_model("pointrend_resnet101.pkl", network_backbone="resnet101")
ins.segmentImage("sample.jpg",  show_bboxes = True, output_image_name="output.jpg")""",
    "classes": """target_classes = ins.select_target_classes(person = True)
ins.segmentImage("image.jpg", show_bboxes=True, segment_target_classes = target_classes, output_image_name="output_image.jpg")""",
    "extraction": """ins.segmentImage("image.jpg", show_bboxes=True, extract_segmented_objects=True,
save_extracted_objects=True, output_image_name="output_image.jpg")""",
    "extraction by box": """\
ins.segmentImage("image.jpg", show_bboxes=True, extract_segmented_objects=True, extract_from_box = True,
save_extracted_objects=True, output_image_name="output_image.jpg" )""",
    "look": 'ins.segmentImage("sample.jpg", show_bboxes=True, text_size=5, text_thickness=3, box_thickness=8, '
            'output_image_name="output.jpg")',
    "batch": 'ins.segmentBatch("inputfolder",  show_bboxes=True, output_folder_name = "outputfolder")',
    "batch extraction": """\
ins.segmentBatch("inputfolder", show_bboxes=True, extract_segmented_objects=True, extract_from_box=True,
save_extracted_objects=True, output_folder_name="outputfolder")""",
    "batch classes": """target_classes = ins.select_target_classes(person = True)
ins.segmentBatch("inputfolder", show_bboxes=True, segment_target_classes = target_classes, output_folder_name="outputfolder")""",
}
WRITES = {
    "image": {"output_image.jpg"}, "results": {"result.jpg"}, "points": {"output.jpg"}, "resnet101": {"output.jpg"},
    "classes": {"output_image.jpg"}, "look": {"output.jpg"},
    "extraction": {"output_image.jpg", "segmented_object_1.jpg", "segmented_object_2.jpg"},
    "extraction by box": {"output_image.jpg", "object_extract1.jpg", "object_extract2.jpg"},
    "batch": {"outputfolder/a.jpg", "outputfolder/b.png"}, "batch classes": {"outputfolder/a.jpg", "outputfolder/b.png"},
    "batch extraction": {"outputfolder/a.jpg", "outputfolder/b.png", *(
        f"inputfolder/{name}_extracts/object_extract{number}.jpg" for name in "ab" for number in (1, 2))},
}


def picture():
    image = np.random.default_rng(0).integers(225, 255, (128, 192, 3), np.uint8)  # the model's scores follow the brightness
    image[20:80, 30:70] = 250
    return image


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """The current folder, with what the programs read."""
    monkeypatch.chdir(tmp_path)
    info = dict(label_info='{"label_names": ["person", "traffic light"]}')
    tiny_models.mask_rcnn(tmp_path / "model.xml", BOXES, LABELS, rt_info=info)
    (tmp_path / "inputfolder").mkdir()
    for name in ("image.jpg", "sample.jpg", "inputfolder/a.jpg", "inputfolder/b.png"):
        cv2.imwrite(str(tmp_path / name), picture())
    return tmp_path


@pytest.fixture
def ins(folder):
    result = instanceSegmentation()
    result.load_model("model.xml")
    return result


@pytest.mark.parametrize("name", PROGRAMS)
def test_programs_of_the_documentation(folder, name):
    given = set(folder.rglob("*"))
    lines = ["from instance_segmentation.pixellib import instanceSegmentation", "ins = instanceSegmentation()",
             'ins.load_model("pointrend_resnet50.pkl")', PROGRAMS[name]]
    exec("\n".join(lines).replace("pointrend_resnet50.pkl", "model.xml").replace("pointrend_resnet101.pkl", "model.xml"), {})
    written = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path not in given and path.is_file()}
    assert written == WRITES.get(name, set())
    for path in written:
        assert cv2.imread(path).size


def test_results(ins):
    results, output = ins.segmentImage("image.jpg", extract_segmented_objects=True)
    assert results["boxes"].tolist() == [[20, 20, 80, 100], [100, 24, 180, 80]] and results["boxes"].dtype == np.int64
    assert results["class_ids"].tolist() == [0, 1] and results["class_names"] == ["person", "traffic light"]
    assert results["object_counts"] == {"person": 1, "traffic light": 1}
    assert results["scores"].dtype == np.float32 and (results["scores"] % 1 == 0).all() and 85 < results["scores"][0] <= 98
    assert results["masks"].shape == (128, 192, 2) and results["masks"].dtype == bool
    assert results["masks"][..., 0].sum() == pytest.approx(60 * 80, rel=0.01)  # the paste rounds corners
    assert results["masks"][..., 0].any(1).nonzero()[0][[0, -1]].tolist() == [20, 99]
    assert [extract.shape for extract in results["extracted_objects"]] == [(80, 60, 3), (56, 80, 3)]
    assert output.shape == (128, 192, 3)
    assert ins.segmentImage("image.jpg")[0]["extracted_objects"] == []


def test_masks_as_points(ins):
    (first,), _ = ins.segmentImage("image.jpg", mask_points_values=True)[0]["masks"]
    assert (first.min(0).tolist(), first.max(0).tolist()) == ([20, 20], [79, 99])


def test_batch_filters_classes_when_it_extracts_too(ins):
    target = ins.select_target_classes(traffic_light=True, person=False, zebra=False)
    assert target == {"person": "invalid", "traffic light": "valid"}
    all_results, outputs = ins.segmentBatch("inputfolder", segment_target_classes=target, extract_segmented_objects=True)
    assert [results["class_names"] for results in all_results] == [["traffic light"]] * 2 and len(outputs) == 2
    assert [[extract.shape for extract in results["extracted_objects"]] for results in all_results] == [[(56, 80, 3)]] * 2


def test_unknown_class_option_and_speed(ins):
    with pytest.raises(WeightsError, match="knows no zebra; it knows: person, traffic light"):
        ins.select_target_classes(zebra=True)
    with pytest.raises(TypeError, match="show_boxes"):
        ins.segmentImage("image.jpg", show_boxes=True)
    with pytest.raises(WeightsError, match="'slow': expected 'fast' or 'rapid'"):
        ins.load_model("model.xml", detection_speed="slow")
    with pytest.raises(WeightsError, match="model.xml has a fixed input and is no .xml of this tool's Mask R-CNN"):
        ins.load_model("model.xml", detection_speed="fast")
    with pytest.raises(WeightsError, match="call load_model first"):
        instanceSegmentation().segmentImage("image.jpg")


def test_names_and_boxes_are_drawn_together_and_in_the_given_size(ins):
    plain, boxed, thick = (ins.segmentImage("image.jpg", **options)[1].astype(int) for options in (
        {}, dict(show_bboxes=True), dict(show_bboxes=True, text_size=2, text_thickness=4, box_thickness=9)))
    changed, more = np.abs(boxed - plain).max(2) > 30, np.abs(thick - plain).max(2) > 30
    assert changed[:20, 20:80].sum() > 300 and not changed[105:].any()  # the plate with the name is above the box
    assert more.sum() > 2 * changed.sum()


def test_frame_confidence_and_empty_image(ins, capsys):
    ins.load_model("model.xml", confidence=0.2)
    results, _ = ins.segmentFrame(picture(), verbose=True, output_image_name="frame.png")
    assert results["class_names"] == ["person", "traffic light", "person"] and cv2.imread("frame.png") is not None
    assert "Processing image..." in capsys.readouterr().out
    results, output = ins.segmentFrame(np.zeros((128, 192, 3), np.uint8), mask_points_values=True, extract_segmented_objects=True)
    assert (len(results["boxes"]), results["masks"], results["extracted_objects"], output.max()) == (0, [], [], 0)
    assert ins.segmentFrame(np.zeros((128, 192, 3), np.uint8))[0]["masks"].shape == (128, 192, 0)


@pytest.fixture
def video(folder):
    writer = cv2.VideoWriter("video.avi", cv2.VideoWriter.fourcc(*"MJPG"), 12, (192, 128))
    for _ in range(4):
        writer.write(picture())
    writer.release()
    return "video.avi"


def test_video(ins, video, folder, capsys):
    results, output = ins.process_video(video, show_bboxes=True, extract_segmented_objects=True, save_extracted_objects=True,
                                        output_video_name="output.mp4", frames_per_second=15)
    written = open_source("output.mp4")
    assert (written.fps, len(list(written.pictures))) == (15, 4) and "Processed 4 frames" in capsys.readouterr().out
    assert results["object_counts"] == {"person": 1, "traffic light": 1} and output.shape == (128, 192, 3)
    assert len(list((folder / "video_extracts").rglob("segmented_object_*.jpg"))) == 8


def test_camera(ins, video, capsys):
    """Its own rate when none is given; it is released at the end."""
    camera = cv2.VideoCapture(video)
    ins.process_camera(camera, output_video_name="output.avi", check_fps=True, verbose=True)
    written = open_source("output.avi")
    assert (written.fps, len(list(written.pictures))) == (12, 4) and not camera.isOpened()
    assert "frames per second" in (out := capsys.readouterr().out) and "Processed 4 frames" in out
