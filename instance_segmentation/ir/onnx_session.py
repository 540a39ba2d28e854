"""An exported ONNX model in ONNX Runtime. Needs no torch."""

from pathlib import Path

import numpy as np

from instance_segmentation.errors import MissingExtraError, WeightsError
from instance_segmentation.ir.info import ONNX_PREFIX, info_of
from instance_segmentation.ir.metadata import NO_TEXT
from instance_segmentation.ir.preprocessing import size_of

TYPES = {"tensor(float)": np.float32, "tensor(float16)": np.float16, "tensor(double)": np.float64, "tensor(uint8)": np.uint8}


class OnnxSession:
    """Callable like a compiled OpenVINO model: image [1, 3, H, W], or inputs by name → dict of output name → array.

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
        self.title = source if isinstance(source, (str, Path)) else "the model"
        try:
            self.session = onnxruntime.InferenceSession(source, options, providers=["CPUExecutionProvider"])
        except Exception as error:  # ONNX Runtime has an exception class for each kind of damage, without a common base
            raise WeightsError(f"{self.title}: ONNX Runtime cannot read it ({error}); export it again, or update onnxruntime "
                               f"from {onnxruntime.__version__}: deformable convolutions need 1.25") from error
        self.names = [output.name for output in self.session.get_outputs()]
        self.types = {item.name: TYPES.get(item.type, np.float32) for item in self.session.get_inputs()}
        self.image, self.layout, self.mean, self.scale = next(iter(self.types), None), "NCHW", None, None

    @property
    def shapes(self):
        """Shapes of the inputs and of the outputs, each by name; lengths that are not fixed are names."""
        return [{item.name: item.shape for item in items} for items in (self.session.get_inputs(), self.session.get_outputs())]

    def take_bgr_pixels(self, name, layout, mean=(), scale=()):
        """Turn every image from now on into what the input `name` wants, as `preprocessing.taking_bgr_pixels` does.

        Args:
            name: Of the image input.
            layout: `NCHW` or `NHWC`.
            mean, scale: One number per channel to subtract and to divide by; empty when the graph does it already.
        """
        self.image, self.layout = name, layout
        self.mean, self.scale = (np.float32(values).reshape(1, -1, 1, 1) if values else None for values in (mean, scale))

    def __call__(self, inputs):
        """Run on one image [1, 3, H, W] of any number type, 0…255; or on inputs by name.

        Raises:
            WeightsError: The network fails.
        """
        feed = dict(inputs) if isinstance(inputs, dict) else {self.image: inputs}
        pixels = feed[self.image].astype(np.float32, copy=False)
        pixels = pixels if self.mean is None else pixels - self.mean
        pixels = pixels if self.scale is None else pixels / self.scale
        feed[self.image] = pixels.transpose(0, 2, 3, 1) if self.layout == "NHWC" else pixels
        feed = {name: array.astype(self.types[name], copy=False) for name, array in feed.items()}
        try:
            return dict(zip(self.names, self.session.run(None, feed), strict=True))
        except Exception as error:  # see above
            raise WeightsError(f"{self.title}: ONNX Runtime cannot run it: {error}") from error


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
    run, entries = open_onnx(path)
    image = next((shape for shape in run.shapes[0].values() if len(shape) == 4), [-1] * 4)
    return run, info_of(entries, size_of(image), path, names)


def open_onnx(path):
    """The OnnxSession of a file, and its `model_info` entries; raises as `read_onnx` does."""
    path = Path(path)
    if not path.is_file():
        raise WeightsError(f"{path}: no such file")
    run = OnnxSession(str(path))
    try:
        metadata = run.session.get_modelmeta().custom_metadata_map
    except UnicodeDecodeError as error:
        raise WeightsError(f"{path}: {NO_TEXT} ({error.reason}); export the model again") from error
    return run, {key[len(ONNX_PREFIX):]: text for key, text in metadata.items() if key.startswith(ONNX_PREFIX)}
