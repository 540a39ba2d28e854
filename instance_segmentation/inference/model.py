"""One way to load whatever can detect: a checkpoint, an exported model, a model on a server."""

from pathlib import Path

from instance_segmentation.errors import WeightsError
from instance_segmentation.inference.exported import LoadOptions, assemble, load_exported
from instance_segmentation.inference.speeds import refusal, with_smaller_input
from instance_segmentation.ir.session import throughput_properties


def load_model(path, options=None, *, adapter="openvino", trust_checkpoint=False, config=None):
    """Load a model as a Detector: image (H, W, 3) uint8 BGR in, Prediction in its pixels out.

    Args:
        path: .pth, .xml, .bin or .onnx; with the adapter `ovms` an address, HOST:PORT/models/NAME[:VERSION].
        options: LoadOptions.
        adapter: `openvino` or `ovms`.
        trust_checkpoint: Unpickle arbitrary objects of a checkpoint.
        config: A model.py, for checkpoints that do not know their network.

    Raises:
        WeightsError: It cannot be read, or not be run here.
        MissingExtraError: It needs packages that are not installed.
    """
    options = options or LoadOptions()
    if options.precision not in (None, "f32") and (adapter == "ovms" or Path(path).suffix == ".pth"):
        raise WeightsError(f"--precision {options.precision}: is for OpenVINO models here; " +
                           ("a server chooses its own" if adapter == "ovms" else "a checkpoint runs in float32, export it first"))
    if adapter == "ovms":
        if options.speed:
            raise refusal(options, path)
        from instance_segmentation.inference.served import load_served
        return load_served(str(path), options)
    if Path(path).suffix == ".pth":
        from instance_segmentation.engine import register
        register("Running a checkpoint")
        from instance_segmentation.engine.network import load_network
        return detector_of(load_network(path, trust=trust_checkpoint, config=config), options, path)
    return load_exported(path, options)


def load_for_many(path, *, adapter="openvino", trust_checkpoint=False, config=None, device="CPU", num_streams="",
                  num_threads=None, **flags):
    """Load a model, as `load_model` does, for several images at a time; `flags` are those of `LoadOptions.of_flags`."""
    properties = throughput_properties(device, num_streams, num_threads)
    options = LoadOptions.of_flags(device=device, properties=properties, **flags)
    return load_model(path, options, adapter=adapter, trust_checkpoint=trust_checkpoint, config=config)


def detector_of(network, options, path):
    """A Detector of a checkpoint's network in PyTorch, on the CPU; its detections take the IR's way into the image."""
    import torch

    from instance_segmentation.ir.graph import family_of, thresholds_of
    from instance_segmentation.ir.info import IrInfo
    from instance_segmentation.ir.parity import run_checkpoint
    options = with_smaller_input(options, network.input_size, network.resize_type)
    if options.mean:
        _set_mean(network.data_preprocessor, options.mean)
    contract, thresholds = family_of(network).CONTRACT, thresholds_of(network)
    info = IrInfo(network.dataset_meta["classes"], network.input_size, mask_threshold=thresholds.mask,
                  score_threshold=thresholds.score, resize_type=network.resize_type, pad_value=network.pad_value)
    shapes = {name: [-1] * rank for name, rank in contract.outputs.items()}
    size_hw = (-1, -1) if options.limits else network.input_size  # it is convolutional: the flags decide
    return assemble(lambda tensor: run_checkpoint(network, torch.from_numpy(tensor[0])), contract, shapes, info, size_hw,
                    options, path)


def _set_mean(preprocessor, mean_bgr):
    """Make a network subtract another mean than its own."""
    mean = mean_bgr[::-1] if preprocessor._channel_conversion else mean_bgr
    preprocessor.mean = preprocessor.mean.new_tensor(mean).view(-1, 1, 1)
