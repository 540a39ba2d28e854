"""Training shows objects at the sizes that tests show them at, but for the template's jitter, whichever way a photo stands."""

import numpy as np
import pytest
from mmdet.registry import TRANSFORMS

from instance_segmentation.engine.config import innermost, read_config, set_input_size
from tests.component.speaking import TEMPLATES

pytestmark = pytest.mark.component
PHOTOS = dict(landscape=(90, 160), square=(120, 120), portrait=(160, 120), phone=(160, 90))  # height, width in pixels
JITTER = {"instance-segmentation-security-0002": (640 / 768, 800 / 768), "point_rend": (640 / 800, 1.0), "rtmdet": (0.5, 2.0)}
KEEPING = [path.parent for path in sorted(TEMPLATES.glob("*/*/model.py")) if "resize_type" in read_config(path)]
assert len(KEEPING) > 10


def scales(loader, image_hw, draws):
    """(vertical, horizontal) network pixels per image pixel, [draws, 2], of a loader's resizing."""
    (step,) = [step for step in innermost(loader.dataset).pipeline if "Resize" in step.type or step.type == "FitToWindow"]
    resize, found = TRANSFORMS.build(dict(step, _scope_="mmdet")), []
    for seed in range(draws):
        np.random.seed(seed)
        result = resize(dict(img=np.zeros((*image_hw, 3), np.uint8), img_shape=image_hw))
        found.append(np.divide(result["img"].shape[:2], image_hw))
    return np.array(found)


@pytest.mark.parametrize("size_hw", [None, (192, 320)], ids=["own size", "another size"])
@pytest.mark.parametrize("folder", KEEPING, ids=lambda folder: folder.name)
def test_a_photo_is_trained_at_the_scale_that_it_is_tested_at(folder, size_hw):
    cfg = read_config(folder / "model.py")
    if size_hw:
        set_input_size(cfg, size_hw)
    low, high = next((span for name, span in JITTER.items() if folder.name.startswith(name)), (1, 1))
    for image_hw in PHOTOS.values():
        ratios = scales(cfg.train_dataloader, image_hw, 12) / scales(cfg.test_dataloader, image_hw, 1)
        assert (ratios > 0.98 * low).all() and (ratios < 1.02 * high).all()  # sides are whole pixels
