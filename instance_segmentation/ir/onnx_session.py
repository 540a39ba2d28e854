"""An exported ONNX model in ONNX Runtime. Needs no torch."""

from pathlib import Path

from instance_segmentation.errors import MissingExtraError, WeightsError
from instance_segmentation.ir.info import ONNX_PREFIX, info_of


class OnnxSession:
    """Callable like a compiled OpenVINO model: image [1, 3, H, W] → dict of output name → array.

    Args:
        source: A path or the bytes of a model.

    Raises:
        WeightsError: It is no model that ONNX Runtime can run.
        MissingExtraError: ONNX Runtime is not installed.
    """

    def __init__(self, source):
        try:
            import onnxruntime
        except ImportError as error:
            raise MissingExtraError("onnx", "Running an ONNX model") from error
        options = onnxruntime.SessionOptions()
        # its threads otherwise keep the cores busy for a while after each image, waiting for the next
        options.add_session_config_entry("session.force_spinning_stop", "1")
        try:
            self.session = onnxruntime.InferenceSession(source, options, providers=["CPUExecutionProvider"])
        except Exception as error:  # ONNX Runtime has an exception class for each kind of damage, without a common base
            what = source if isinstance(source, (str, Path)) else "the model"
            raise WeightsError(f"{what}: ONNX Runtime cannot read it ({error}); export it again, or update onnxruntime from "
                               f"{onnxruntime.__version__}: deformable convolutions need 1.25") from error
        self.names = [output.name for output in self.session.get_outputs()]

    @property
    def shapes(self):
        """Shapes of the inputs and of the outputs, each by name; lengths that are not fixed are names."""
        return [{item.name: item.shape for item in items} for items in (self.session.get_inputs(), self.session.get_outputs())]

    def __call__(self, image):
        """Run on one image [1, 3, H, W] of any number type, 0…255."""
        return dict(zip(self.names, self.session.run(None, {"image": image.astype("float32", copy=False)}), strict=True))


def read_onnx(path, names=()):
    """Read an exported model.

    Args:
        path: The .onnx file.
        names: Class names for a model that lists none.

    Returns:
        An OnnxSession and the model's IrInfo.

    Raises:
        WeightsError: The file is missing or damaged, or lists no classes and `names` is empty.
    """
    path = Path(path)
    if not path.is_file():
        raise WeightsError(f"{path}: no such file")
    run = OnnxSession(str(path))
    metadata = run.session.get_modelmeta().custom_metadata_map
    entries = {key[len(ONNX_PREFIX):]: text for key, text in metadata.items() if key.startswith(ONNX_PREFIX)}
    return run, info_of(entries, run.session.get_inputs()[0].shape[-2:], path, names)
