"""Compiling an exported model for a device. Needs no torch."""

from instance_segmentation.errors import WeightsError


def compile_ir(model, device="CPU", options=None):
    """Compile for one image at a time, in float32 unless told otherwise.

    Left to itself OpenVINO computes in bfloat16 where the processor can: faster, and different from the checkpoint.

    Args:
        model: An ov.Model.
        device: An OpenVINO device name, for example `CPU`, `GPU`, `AUTO`.
        options: OpenVINO properties, which replace the defaults one by one.

    Raises:
        WeightsError: The device does not exist or cannot run the model.
    """
    import openvino as ov
    core = ov.Core()
    defaults = {"PERFORMANCE_HINT": "LATENCY", "INFERENCE_PRECISION_HINT": "f32"}
    try:
        return core.compile_model(model, device, {**defaults, **(options or {})})
    except RuntimeError as error:
        raise WeightsError(f"OpenVINO device {device}: cannot run this model: {str(error).strip().splitlines()[-1]}\n"
                           f"Devices of this machine: {', '.join(core.available_devices)}") from error
