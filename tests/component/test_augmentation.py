"""Every named augmentation keeps masks where the objects are.

Each class has a colour of its own in the test's images, so an augmented image itself says what the true mask is.
"""

import json

import cv2
import numpy as np
import pytest
from mmdet.registry import DATASETS

from instance_segmentation.coco import read_annotations
from instance_segmentation.coco.outlines import mask_to_polygons
from instance_segmentation.engine.augmentation import AUGMENTATIONS
from instance_segmentation.engine.config import read_config, set_input_size, train_config
from instance_segmentation.engine.seeding import SAMPLE
from instance_segmentation.errors import TemplateError

from .test_mask_targets import SIDE, true_target

pytestmark = pytest.mark.component
IMAGES, SAMPLES = 8, 40
COLOURS = [(b, g, r) for b in (0, 128, 255) for g in (0, 128, 255) for r in (0, 128, 255) if len({b, g, r}) > 1]


@pytest.fixture(scope="module")
def painted(tmp_path_factory):
    """Annotation file of images with a ring, a blob in two parts and a triangle at the border each; the last is empty."""
    folder, images, annotations = tmp_path_factory.mktemp("painted"), [], []
    for number in range(IMAGES):
        image = np.zeros((240, 300, 3), np.uint8)
        for kind in range(3 if number < IMAGES - 1 else 0):
            mask = np.zeros(image.shape[:2], np.uint8)
            draw(mask, kind, number)
            label = 3 * number + kind
            image[mask > 0] = COLOURS[label]
            annotations.append(dict(id=label + 1, image_id=number + 1, category_id=label + 1, iscrowd=0, area=float(mask.sum()),
                                    bbox=list(cv2.boundingRect(mask)), segmentation=mask_to_polygons(mask)))
        cv2.imwrite(str(folder / f"{number}.png"), image)
        images.append(dict(id=number + 1, file_name=f"{number}.png", height=240, width=300))
    categories = [dict(id=label + 1, name=f"c{label}") for label in range(3 * (IMAGES - 1))]
    (folder / "raw.json").write_text(json.dumps(dict(images=images, annotations=annotations, categories=categories)))
    read_annotations([folder / "raw.json"], [folder], keep_empty=True).write(folder / "train.json", masks="polygon")
    return folder / "train.json"


def draw(mask, kind, number):
    shift = 4 * number
    if kind == 0:
        cv2.circle(mask, (80 + shift, 80), 50, 1, 22)
    elif kind == 1:
        mask[150:200, 30 + shift:90 + shift] = mask[170:230, 110 + shift:130 + shift] = 1
    else:
        cv2.fillPoly(mask, [np.array([[299, 20 + shift], [190, 100], [299, 220]])], 1)


def run_config(cfg, painted, augment, size_hw=(192, 256), **recipe):
    set_input_size(cfg, size_hw)
    classes = [category["name"] for category in json.loads(painted.read_text())["categories"]]
    return train_config(cfg, train_json=painted, val_json=painted, images=IMAGES, classes=classes, output="o", epochs=1,
                        batch_size=2, augment=augment, **recipe)


def without_colours(cfg):
    """The training dataset, with true colours."""
    dataset = cfg.train_dataloader.dataset.to_dict()
    for holder in (dataset["dataset"], dataset["dataset"].get("dataset", {})):
        holder["pipeline"] = [step for step in holder.get("pipeline", [])
                              if step["type"] not in ("PhotoMetricDistortion", "YOLOXHSVRandomAug")]
    return DATASETS.build(dataset)


def sample(dataset, index, place):
    """One training sample: image [H, W, 3] uint8 and its objects."""
    packed = dataset[index, (SAMPLE, 5, 0, place)]
    return packed["inputs"].permute(1, 2, 0).numpy(), packed["data_samples"]


def target_iou(image, colour, polygons, box):
    """IoU of the mask head's target with the pixels of that colour in the box (x1, y1, x2, y2)."""
    near = np.abs(image.astype(int) - colour).sum(2) < 100
    target = polygons.crop_and_resize(box[None], (SIDE, SIDE), np.zeros(1, int)).to_ndarray()[0]
    truth = true_target(near, (box[0], box[1], box[2] - box[0], box[3] - box[1]))
    return (target & truth).sum() / max(1, (target | truth).sum())


def targets(dataset):
    """IoU of every object of many samples; objects of a class that is there twice may overlap, and are left out."""
    found = []
    for place in range(SAMPLES):
        image, packed = sample(dataset, place % len(dataset), place)
        objects = packed.gt_instances
        boxes, labels = objects.bboxes.tensor.numpy(), objects.labels.numpy()
        assert (boxes[:, :2] >= -1e-3).all() and (boxes[:, 2:] <= np.array(image.shape[1::-1]) + 1e-3).all()
        found += [target_iou(image, COLOURS[label], objects.masks[[index]], boxes[index]) for index, label in enumerate(labels)
                  if (labels == label).sum() == 1]
    return np.array(found)


@pytest.mark.parametrize("augment", AUGMENTATIONS)
def test_targets_are_the_painted_masks(config_480, painted, augment):
    dataset = without_colours(run_config(config_480, painted, augment))
    found = targets(dataset)
    assert len(found) > 2 * SAMPLES
    assert found.mean() > 0.94 and np.quantile(found, 0.02) > 0.75


@pytest.mark.parametrize("augment", ["none", "light", "heavy"])
def test_targets_are_the_painted_masks_where_images_are_cropped_and_padded(repo, painted, augment):
    """RTMDet-Ins: rings keep their holes when they are cut, and nothing of a mask lies in the padding."""
    cfg = read_config(repo / "model_templates/custom-instance-segmentation/rtmdet-ins_tiny-640x640/model.py")
    dataset = without_colours(run_config(cfg, painted, augment, size_hw=(384, 512)))  # padding makes small objects smaller still
    found = targets(dataset)
    assert len(found) > 1.5 * SAMPLES
    assert found.mean() > 0.94 and np.quantile(found, 0.02) > 0.75
    assert {sample(dataset, 0, place)[0].shape for place in range(5)} == {(384, 512, 3)}


def test_bitmaps_cannot_be_put_together(repo, painted):
    cfg = read_config(repo / "model_templates/coco-instance-segmentation/yolact_r50-544x544/model.py")
    with pytest.raises(TemplateError, match="--augment mosaic: puts polygons.*choose none, light or colour"):
        run_config(cfg, painted, "mosaic")


@pytest.mark.parametrize("augment", AUGMENTATIONS)
def test_samples_depend_on_their_seed_and_place_alone(config_480, painted, augment):
    """What makes a resumed run the same bit by bit; the empty image is among them."""
    dataset = DATASETS.build(run_config(config_480, painted, augment).train_dataloader.dataset)
    first = [dataset[index, (SAMPLE, 5, 0, index)] for index in range(IMAGES)]
    for index in reversed(range(IMAGES)):
        again = dataset[index, (SAMPLE, 5, 0, index)]
        assert (again["inputs"] == first[index]["inputs"]).all()
        assert (again["data_samples"].gt_instances.bboxes.tensor == first[index]["data_samples"].gt_instances.bboxes.tensor).all()
    other = dataset[0, (SAMPLE, 6, 0, 0)]["inputs"]
    same = other.shape == first[0]["inputs"].shape and bool((other == first[0]["inputs"]).all())
    assert same == (augment == "none")


def test_mixed_samples_name_all_their_files(config_480, painted):
    dataset = DATASETS.build(run_config(config_480, painted, "mosaic").train_dataloader.dataset)
    named = [dataset[0, (SAMPLE, 5, 0, place)]["data_samples"].img_path.split(", ") for place in range(5)]
    assert max(map(len, named)) == 4 and all(files[0].endswith("0.png") for files in named)


@pytest.mark.parametrize("augment", AUGMENTATIONS)
def test_no_flip_holds(config_480, painted, augment):
    flipped = str(run_config(config_480, painted, augment).train_dataloader)
    assert ("RandomFlip" in flipped) == (augment != "none")
    assert "RandomFlip" not in str(run_config(config_480, painted, augment, no_flip=True).train_dataloader)


def test_an_unknown_name_lists_those_there_are(config_480, painted):
    with pytest.raises(TemplateError, match="--augment: got 'mosaik', expected one of none, light, .*heavy"):
        run_config(config_480, painted, "mosaik")
