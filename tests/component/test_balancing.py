"""--balance-classes: rare classes come up more often, and a run can still begin anywhere."""

import json
from collections import Counter

import pytest
from mmdet.registry import DATASETS
from mmengine.registry import DATA_SAMPLERS

from instance_segmentation.engine.balancing import image_weights
from instance_segmentation.engine.config import train_config

pytestmark = pytest.mark.component
IMAGES = 20


@pytest.fixture
def sampler(config_480, tmp_path):
    """20 images: all but the last with class a, the first with b as well, the last without objects; three passes."""
    annotations = [dict(image=number, category=1) for number in range(IMAGES - 1)] + [dict(image=0, category=2)]
    content = dict(
        images=[dict(id=number + 1, file_name=f"{number}.png", height=60, width=80) for number in range(IMAGES)],
        annotations=[dict(id=index + 1, image_id=entry["image"] + 1, category_id=entry["category"], bbox=[10, 10, 20, 20],
                          area=400, iscrowd=0, segmentation=[[10, 10, 30, 10, 30, 30, 10, 30]])
                     for index, entry in enumerate(annotations)],
        categories=[dict(id=1, name="a"), dict(id=2, name="b")])
    (tmp_path / "t.json").write_text(json.dumps(content))
    cfg = train_config(config_480, train_json=tmp_path / "t.json", val_json="v", images=IMAGES, classes=["a", "b"], output="o",
                       epochs=1, batch_size=2, augment="mosaic", balance_classes=True)
    dataset = DATASETS.build(cfg.train_dataloader.dataset)
    return DATA_SAMPLERS.build(cfg.train_dataloader.sampler, default_args=dict(dataset=dataset, seed=3))


def test_weights_are_those_of_the_rarest_class():
    assert image_weights([{0}, {0, 1}, {0}, {0}, set()]) == pytest.approx([1, 2, 1, 1, 1])
    assert image_weights([set(), set()]) == [1, 1]


def test_rare_classes_come_up_in_proportion(sampler):
    seen = Counter()
    for epoch in range(40):
        sampler.set_epoch(epoch)
        indices = [index for index, _ in sampler]
        assert len(indices) == len(sampler) == 3 * IMAGES
        seen.update(index % IMAGES for index in indices)
    rare = 19 ** 0.5
    assert seen[0] == pytest.approx(40 * 3 * IMAGES * rare / (rare + IMAGES - 1), rel=0.05)
    assert min(seen.values()) > 70 and len(seen) == IMAGES  # every image, the empty one too


def test_it_can_begin_in_the_middle_of_an_epoch(sampler):
    sampler.set_epoch(4)
    whole = list(sampler)
    sampler.first = 21
    assert list(sampler) == whole[21:]
    sampler.first = 0
    sampler.set_epoch(5)
    assert [index for index, _ in sampler] != [index for index, _ in whole]
