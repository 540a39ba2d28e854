"""Size and complexity of a network, as stated in template.yaml and metrics.yaml."""

import torch
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils.flop_counter import FlopCounterMode

from instance_segmentation.engine.stages import stages_of


def size_mp(model):
    """Parameters in millions, two decimals; buffers such as BatchNorm's running means do not count."""
    return round(sum(parameter.numel() for parameter in model.parameters()) / 1e6, 2)


def complexity_gflops(model, size_hw):
    """Floating-point operations of one image in units of 10⁹, two decimals; see `complexity_table`."""
    return complexity_table(model, size_hw)[0]


def complexity_table(model, size_hw):
    """Floating-point operations of one image in units of 10⁹, two decimals, and a table by module.

    Counted by torch's flop counter: convolutions, transposed convolutions and matrix products, two operations per
    multiply-add; activations, normalisation, RoIAlign and NMS are left out. The trunk runs at the input size, the box
    head on as many proposals as the test config keeps, the mask head on as many detections as it keeps.

    Args:
        model: A two-stage mmdet detector, an RTMDet-Ins, or a ContractYOLACT, whose masks those add up who read its outputs.
        size_hw: Height and width of the network's input.
    """
    # Shapes are enough to count: nothing is computed
    with torch.no_grad(), FakeTensorMode(allow_non_fake_inputs=True), FlopCounterMode(display=False, depth=4) as counter:
        image = torch.zeros(1, 3, *size_hw, device=next(model.parameters()).device)
        if hasattr(model, "roi_head"):
            _run_two_stages(model, image)
        elif hasattr(model, "answer"):
            model.answer(image)
        else:
            _run_rtmdet_ins(model, image)
    return round(counter.get_total_flops() / 1e9, 2), counter.get_table()


def _run_rtmdet_ins(model, image):
    head, count = model.bbox_head, model.test_cfg.max_per_img
    *_, features = head(model.extract_feat(image))
    head._mask_predict_by_feat_single(features[0], image.new_zeros(count, head.num_gen_params), image.new_ones(count, 4))


def _run_two_stages(model, image):
    model.rpn_head(model.extract_feat(image))
    for kind, count in (("bbox", model.test_cfg.rpn.max_per_img), ("mask", model.test_cfg.rcnn.max_per_img)):
        for extractor, shared, head in stages_of(model.roi_head, kind):
            head(shared(image.new_zeros(count, extractor.out_channels, *extractor.roi_layers[0].output_size)))
