"""Prove that the training environment works: imports what is easily broken, runs one op, prints versions.

Run by init_venv.sh; run it by hand after changing packages. Exit code 1 names every part that failed.
"""

import sys
from importlib.metadata import version


def check_torch():
    """torch computes; says which device it can use."""
    import torch
    assert torch.ones(2).sum().item() == 2.0
    gpus = torch.cuda.device_count()
    return f"{torch.__version__}, " + (f"{gpus} GPU: {torch.cuda.get_device_name(0)}" if gpus else "CPU")


def check_mmcv():
    """mmcv has its compiled ops: without torch at build time it installs silently without them."""
    import torch
    from mmcv.ops import nms
    boxes = torch.tensor([[0.0, 0.0, 10.0, 10.0], [1.0, 1.0, 10.0, 10.0], [20.0, 20.0, 30.0, 30.0]])
    gpu = torch.cuda.is_available()
    for device in ["cpu", "cuda"] if gpu else ["cpu"]:
        _, kept = nms(boxes.to(device), torch.tensor([0.9, 0.8, 0.7], device=device), 0.5)
        assert kept.tolist() == [0, 2], f"nms on {device} kept {kept.tolist()}, expected [0, 2]"
    if gpu:
        check_gpu_ops("cuda")
    return f"{version('onedl-mmcv')} with ops, nms works" + (", RoIAlign and deform_conv on the GPU as on the CPU" if gpu else "")


def check_gpu_ops(device):
    """RoIAlign and deformable convolutions give on a device what they give on the CPU."""
    import torch
    from mmcv.ops import deform_conv2d, modulated_deform_conv2d, roi_align
    torch.manual_seed(0)
    image, weight, offset = torch.randn(1, 4, 12, 12), torch.randn(6, 4, 3, 3), torch.randn(1, 18, 12, 12)
    rois = torch.tensor([[0.0, 1, 1, 9, 8], [0, 3, 2, 11, 11]])
    ops = dict(roi_align=lambda at: roi_align(at(image), at(rois), (7, 7), 1.0, 0, "avg", True),
               deform_conv=lambda at: deform_conv2d(at(image), at(offset), at(weight), 1, 1),
               modulated_deform_conv=lambda at: modulated_deform_conv2d(
                   at(image), at(offset), at(offset[:, :9].sigmoid()), at(weight), None, 1, 1))
    for name, op in ops.items():
        difference = float((op(lambda tensor: tensor.to(device)).cpu() - op(lambda tensor: tensor)).abs().max())
        assert difference < 0.01, f"{name} on {device} differs from the CPU's result by {difference:g}"


def check_mmdet():
    """The detector's registry imports; found without importing it, which takes 8 s."""
    from importlib.util import find_spec
    assert find_spec("mmdet"), "mmdet is not installed"
    return f"{version('onedl-mmdetection')} on mmengine {version('onedl-mmengine')}"


def check_opencv():
    """cv2 imports. Two OpenCV wheels overwrite each other; only the headless one needs no libGL."""
    import cv2
    return cv2.__version__


def check_openvino():
    """OpenVINO loads its plugins."""
    import openvino
    devices = openvino.Core().available_devices
    assert "CPU" in devices, f"devices: {devices}, expected CPU among them"
    return f"{openvino.__version__.split('-')[0]}, devices: {', '.join(devices)}"


def check_nncf():
    """nncf is installed; found without importing it, which takes seconds."""
    return version("nncf")


def check_package():
    """Our own package is the one of this environment."""
    import instance_segmentation
    return f"{instance_segmentation.__version__} from {instance_segmentation.__path__[0]}"


CHECKS = {"torch": check_torch, "mmcv": check_mmcv, "mmdet": check_mmdet, "opencv": check_opencv,
          "openvino": check_openvino, "nncf": check_nncf, "instseg": check_package}


def main():
    """Run every check, also after a failure; returns the exit code."""
    print(f"      {'python':<9} {sys.version.split()[0]}")
    failed = []
    for name, check in CHECKS.items():
        try:
            print(f"      {name:<9} {check()}", flush=True)
        except Exception as error:  # whatever a broken wheel raises, the user wants the whole list
            failed.append(name)
            print(f"      {name:<9} FAILED: {type(error).__name__}: {error}", flush=True)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
