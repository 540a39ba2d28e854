"""Every template on images without objects, which training on --keep-empty and every validation meets."""

import pytest
import torch
from mmdet.structures import DetDataSample
from mmdet.structures.mask import BitmapMasks
from mmengine.structures import InstanceData

from instance_segmentation.engine.config import dicts_in, read_config, set_classes, set_input_size
from instance_segmentation.engine.network import build_network
from tests.component.speaking import TEMPLATES, photo_like

pytestmark = pytest.mark.component
SIZE, CLASSES = (96, 96), ("berry", "leaf")
FEW = dict(fc_out_channels=32, num=16, nms_pre=50, max_per_img=20)
LEAVES = sorted(path.parent for path in TEMPLATES.glob("*/*/model.py"))
assert len(LEAVES) > 20


def lessen(cfg):
    """Leave all layers and most of their work out: a ResNet's channels, where heads do not share its last stage, and boxes."""
    if cfg.model.backbone.type == "ResNet" and cfg.model.neck:
        cfg.model.backbone.update(depth=50, base_channels=8)
        cfg.model.neck.in_channels = [32, 64, 128, 256]
    for part in dicts_in(cfg.model):
        part.update({key: value for key, value in FEW.items() if isinstance(part.get(key), int)})


@pytest.mark.parametrize("folder", LEAVES, ids=lambda folder: folder.name)
def test_every_layer_has_a_gradient_without_objects(folder):
    """Processes that train together wait for it; and the loss of validation is a number."""
    cfg = read_config(folder / "model.py")
    set_classes(cfg, CLASSES)
    set_input_size(cfg, SIZE)
    lessen(cfg)
    model = build_network(cfg, CLASSES).train()
    total = loss(model)
    total.backward()
    trained = {name: weight.grad for name, weight in model.named_parameters() if weight.requires_grad}
    assert trained and not [name for name, gradient in trained.items() if gradient is None]
    assert torch.isfinite(total)
    with torch.no_grad():
        assert torch.isfinite(loss(model.eval()))


def loss(model):
    """Of two images without objects."""
    sample = DetDataSample(metainfo=dict(img_shape=SIZE, ori_shape=SIZE, scale_factor=(1.0, 1.0)))
    sample.gt_instances = InstanceData(bboxes=torch.zeros(0, 4), labels=torch.zeros(0, dtype=torch.int64),
                                       masks=BitmapMasks([], *SIZE))
    sample.ignored_instances = InstanceData(bboxes=torch.zeros(0, 4))
    image = torch.from_numpy(photo_like(SIZE, 7)).permute(2, 0, 1)
    data = model.data_preprocessor(dict(inputs=[image, image], data_samples=[sample, sample.clone()]), training=True)
    return model.parse_losses(model.loss(data["inputs"], data["data_samples"]))[0]
