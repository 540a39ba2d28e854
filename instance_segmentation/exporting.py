"""Export a checkpoint as an OpenVINO IR and tell how to run it."""

from pathlib import Path

from instance_segmentation.coco import read_annotations
from instance_segmentation.errors import ExportError, WeightsError
from instance_segmentation.evaluation import check_classes
from instance_segmentation.report import say
from instance_segmentation.templates.workdir import open_workdir


def export(work_dir, *, load_weights, save_model_to, classes=None, openvino=True, onnx=False, openvino_input_format="BGR",
           fp16=False, test_ann_files=None, test_data_roots=None, parity_images=8, trust_checkpoint=False):
    """Write model.xml and model.bin, after the exported graph found what the checkpoint finds.

    Args:
        work_dir: Folder made by `instantiate`.
        load_weights: A .pth checkpoint.
        save_model_to: Folder of the exported files.
        classes: Must equal the checkpoint's classes when given.
        openvino: Accepted for old scripts; an OpenVINO IR is always written.
        onnx: Ask for ONNX, which does not exist yet.
        openvino_input_format: Channel order that clients will send, `BGR` or `RGB`.
        fp16: Store 16-bit weights: half the size.
        test_ann_files, test_data_roots: Images for the parity gate; noise images stand in without them.
        parity_images: How many of them to use.
        trust_checkpoint: Unpickle arbitrary objects of the checkpoint.

    Returns:
        An `ir.export.ExportResult`.
    """
    work, weights = open_workdir(work_dir), Path(load_weights)
    if onnx:
        raise ExportError("--onnx: this version writes OpenVINO IR only; leave --onnx out")
    if weights.suffix in (".xml", ".bin"):
        raise WeightsError(f"--load-weights {weights}: is an exported model already; expected a .pth checkpoint")
    if bool(test_ann_files) != bool(test_data_roots):
        raise ExportError("--test-ann-files and --test-data-roots belong together; give both or neither")
    from instance_segmentation.engine import register
    register("Exporting")
    from instance_segmentation.engine.network import load_network
    from instance_segmentation.ir.export import export_ir
    network = load_network(weights, config=work.config, trust=trust_checkpoint)
    names = network.dataset_meta["classes"]
    check_classes(classes, names, weights)
    images = []
    if test_ann_files:
        images = read_annotations(test_ann_files, test_data_roots, classes=names, all_classes=False).images
    result = export_ir(weights, save_model_to, network=network, template=work.template.name, fp16=fp16,
                       channel_order=openvino_input_format, samples=[image["file_name"] for image in images],
                       parity_images=parity_images)
    _tell(result, work, fp16)
    return result


def _tell(result, work, fp16):
    """Say what was written, how it was checked, what it expects and how to run it."""
    info, folder = result.info, result.xml.parent
    height, width = info.input_size
    say("Exported", f"{result.xml} and model.bin, {'FP16' if fp16 else 'FP32'} weights, {result.size_mb:.1f} MB")
    say("Checked", result.parity.summary())
    if not result.parity.real_images:
        say("", "Only noise was used: no images were given. Give your validation images to check on what matters: "
            "--test-ann-files and --test-data-roots")
    say("Expects", f"'image' [1, 3, {height}, {width}] float32, {info.channel_order}, 0–255 as read from the file: the mean is "
        "inside the graph. Resize without keeping the aspect ratio")
    say("Gives", "boxes [N, 5] (x1 y1 x2 y2 in input pixels, score), labels [N] from 0, masks [N, m, m] inside the box")
    say("Run it", "")
    order = "" if info.channel_order == "BGR" else "[..., ::-1]"
    for title, command in (
            ("this tool", f"python {work.path / 'eval.py'} --load-weights {result.xml} --test-ann-files FILE --test-data-roots "
             "DIR --save-metrics-to metrics.yaml"),
            ("OpenVINO", f"openvino.compile_model('{result.xml}')(cv2.resize(cv2.imread('a.jpg'), ({width}, {height})){order}"
             ".transpose(2, 0, 1)[None].astype('float32'))"),
            ("Model API", f"model_api.models.Model.create_model('{result.xml}')(cv2.imread('a.jpg'){order})"),
            ("OMZ demo", f"instance_segmentation_demo.py -m {result.xml} --labels {folder / 'labels.txt'} -i a.jpg")):
        say("", f"  {title:<10} {command}")
