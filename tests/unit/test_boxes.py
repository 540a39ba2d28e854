"""Boxes that are not the boxes of their masks are found, and their cause is named."""

import json

import numpy as np
import pytest
from PIL import Image

from instance_segmentation.coco import read_annotations, salvage_annotations
from instance_segmentation.coco.boxes import cause_of
from instance_segmentation.errors import DatasetError

WIDTH, HEIGHT = 640, 480
BOX = "boxes"


def xyxy(box, outline):
    return [box[0], box[1], box[0] + box[2], box[1] + box[3]], outline


def centred(box, outline):
    return [box[0] + box[2] / 2, box[1] + box[3] / 2, box[2], box[3]], outline


def normalised_box(box, outline):
    return [box[0] / WIDTH, box[1] / HEIGHT, box[2] / WIDTH, box[3] / HEIGHT], outline


def yolo(box, outline):
    return normalised_box(centred(box, outline)[0], outline)


def normalised_mask(box, outline):
    return box, outline / [WIDTH, HEIGHT]


def swapped_mask(box, outline):
    return box, outline[:, ::-1]


def scaled_mask(box, outline):
    return box, outline / 2


def shifted_mask(box, outline):
    return box, outline + [120, 90]


CAUSES = {
    xyxy: "they read as x1, y1, x2, y2", centred: "they read as centre x", normalised_box: "boxes from 0 to 1, masks in px",
    yolo: "they read as YOLO's centre", normalised_mask: "masks from 0 to 1, boxes in px", swapped_mask: "x and y are swapped",
    scaled_mask: "of an image of another size", shifted_mask: "is shifted",
}


def objects(count, seed=0):
    """Boxes and outlines [N, 2] of ellipses, px."""
    rng = np.random.default_rng(seed)
    angle = np.linspace(0, 2 * np.pi, 40, endpoint=False)
    for _ in range(count):
        radii, centre = rng.uniform([20, 20], [60, 40]), rng.uniform([250, 160], [400, 250])
        outline = centre + radii * np.stack([np.cos(angle), np.sin(angle)], 1)
        yield [*(outline.min(0)), *np.ptp(outline, 0)], outline


def dataset(folder, change, wrong):
    """A COCO file of 30 objects, of which every `wrong`th is changed."""
    annotations = []
    for number, (box, outline) in enumerate(objects(30), 1):
        if number % wrong == 0:
            box, outline = change(box, outline)
        annotations.append(dict(id=number, image_id=1, category_id=1, iscrowd=0, area=float(box[2] * box[3]) or 1.0,
                                bbox=[float(value) for value in box], segmentation=[np.ravel(outline).tolist()]))
    document = dict(images=[dict(id=1, file_name="a.jpg", width=WIDTH, height=HEIGHT)], annotations=annotations,
                    categories=[dict(id=1, name="nut")])
    (folder / "a.json").write_text(json.dumps(document))
    return [folder / "a.json"], [folder]


@pytest.mark.parametrize("change", CAUSES, ids=lambda change: change.__name__)
def test_a_whole_set_is_refused_with_its_cause(tmp_path, change):
    with pytest.raises(DatasetError, match="30 of 30 boxes are not the box of their mask") as caught:
        read_annotations(*dataset(tmp_path, change, 1), check_images=False)
    assert CAUSES[change] in str(caught.value) and "annotation 1 in a.jpg" in str(caught.value)


@pytest.mark.parametrize("change", CAUSES, ids=lambda change: change.__name__)
def test_one_object_in_ten_gets_the_box_of_its_mask_and_is_told(tmp_path, change):
    result = read_annotations(*dataset(tmp_path, change, 10), check_images=False)
    (note,) = [note for note in result.notes if "nothing to do with" in note]
    assert note.startswith("3 boxes that have nothing to do with their mask") and CAUSES[change] in note
    tenth = result.annotations[9]
    low, high = np.reshape(tenth["segmentation"][0], (-1, 2)).min(0), np.reshape(tenth["segmentation"][0], (-1, 2)).max(0)
    np.testing.assert_allclose(tenth["bbox"], [*low, *(high - low)], atol=1.0)


def test_right_and_loosely_drawn_boxes_are_left_alone(tmp_path):
    def loose(box, outline):
        return [box[0] - 5, box[1] - 5, box[2] + 12, box[3] + 9], outline

    result = read_annotations(*dataset(tmp_path, loose, 2), check_images=False)
    assert result.notes == () and result.annotations[1]["bbox"] == pytest.approx(
        loose(list(objects(2))[1][0], None)[0])


def test_coordinates_from_0_to_1_are_said(tmp_path):
    def both(box, outline):
        return normalised_box(box, None)[0], normalised_mask(None, outline)[1]

    with pytest.raises(DatasetError, match="30 objects with coordinates from 0 to 1; COCO counts in px"):
        read_annotations(*dataset(tmp_path, both, 1), check_images=False)


def test_a_cause_that_nobody_knows_is_not_made_up():
    assert cause_of([500, 10, 30, 100], [20, 300, 90, 25], (HEIGHT, WIDTH)) == ""


def test_fix_keeps_the_objects_with_the_boxes_of_their_masks(tmp_path):
    Image.new("RGB", (WIDTH, HEIGHT)).save(tmp_path / "a.jpg")
    findings, result = salvage_annotations(*dataset(tmp_path, xyxy, 1))
    assert "30 of 30 boxes" in " ".join(findings[0].problems)
    for item, (box, _) in zip(result.annotations, objects(30), strict=True):
        assert item["bbox"] == pytest.approx(box)
