"""One way to load whatever can detect: a checkpoint, an exported model, a model on a server."""

from pathlib import Path

from instance_segmentation.inference.exported import LoadOptions, assemble, load_exported


def load_model(path, options=None, *, adapter="openvino", trust_checkpoint=False):
    """Load a model as a Detector: image (H, W, 3) uint8 BGR in, Prediction in its pixels out.

    Args:
        path: .pth, .xml, .bin or .onnx; with the adapter `ovms` an address, HOST:PORT/models/NAME[:VERSION].
        options: LoadOptions.
        adapter: `openvino` or `ovms`.
        trust_checkpoint: Unpickle arbitrary objects of a checkpoint.

    Raises:
        WeightsError: It cannot be read, or not be run here.
        MissingExtraError: It needs packages that are not installed.
    """
    options = options or LoadOptions()
    if adapter == "ovms":
        from instance_segmentation.inference.served import load_served
        return load_served(str(path), options)
    if Path(path).suffix == ".pth":
        return _load_checkpoint(Path(path), options, trust_checkpoint)
    return load_exported(path, options)


def _load_checkpoint(path, options, trust):
    """A checkpoint in PyTorch, on the CPU; its detections take the IR's way into the image."""
    from instance_segmentation.engine import register
    register("Running a checkpoint")
    import torch

    from instance_segmentation.engine.network import load_network
    from instance_segmentation.ir.graph import family_of, thresholds_of
    from instance_segmentation.ir.info import IrInfo
    from instance_segmentation.ir.parity import run_checkpoint
    network = load_network(path, trust=trust)
    contract, thresholds = family_of(network).CONTRACT, thresholds_of(network)
    info = IrInfo(network.dataset_meta["classes"], network.input_size, mask_threshold=thresholds.mask,
                  score_threshold=thresholds.score)
    shapes = {name: [-1] * rank for name, rank in contract.outputs.items()}
    return assemble(lambda tensor: run_checkpoint(network, torch.from_numpy(tensor[0])), contract, shapes, info,
                    network.input_size, options, path)
