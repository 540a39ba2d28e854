"""Export a checkpoint as an OpenVINO IR, and as ONNX if asked, and tell how to run it."""

import shutil
import tempfile
from functools import partial
from pathlib import Path

from instance_segmentation.coco import read_annotations
from instance_segmentation.early_checks import CHECKPOINTS, check_annotation_files, check_weights_file
from instance_segmentation.errors import ExportError, WeightsError
from instance_segmentation.evaluation import check_classes, detect
from instance_segmentation.report import number, progress, say, table
from instance_segmentation.templates.catalogue import find_template
from instance_segmentation.templates.weights import fetch
from instance_segmentation.templates.workdir import open_workdir

RESIZES = dict(standard="Resize without keeping the aspect ratio",
               fit_to_window="Resize with its aspect ratio until it fits, and fill up on the right or below with {}")

def export(work_dir, *, load_weights, save_model_to, classes=None, openvino=True, onnx=False, openvino_input_format="BGR",
           fp16=False, segmentoly=False, ovms=None, input_size=None, test_ann_files=None, test_data_roots=None, parity_images=8,
           coarse_masks=False, trust_checkpoint=False):
    """Write model.xml and model.bin, after the exported graph found what the checkpoint finds.

    Args:
        work_dir: Folder made by `instantiate`.
        load_weights: A .pth checkpoint.
        save_model_to: Folder of the exported files.
        classes: Must equal the checkpoint's classes when given.
        openvino: Accepted for old scripts; an OpenVINO IR is always written.
        onnx: Also write model.onnx, checked in the same way.
        openvino_input_format: Channel order that clients will send, `BGR` or `RGB`.
        fp16: Store 16-bit weights in the IR: half the size.
        segmentoly: Give the IR the inputs `im_data`, `im_info` and the outputs of Segmentoly's models.
        ovms: Name under which OpenVINO Model Server shall serve the model; a repository for it is written too.
        input_size: (height, width) in pixels, multiples of 32; the checkpoint's own when None.
        test_ann_files, test_data_roots: Images for the parity gate, where noise stands in without them, and for the score
            thresholds (`IrInfo.confidence_threshold`), for which nothing can.
        parity_images: How many of them the gate uses.
        coarse_masks: Leave out a PointRend network's point head.
        trust_checkpoint: Unpickle arbitrary objects of the checkpoint.

    Returns:
        An `ir.export.ExportResult`.
    """
    work, weights = open_workdir(work_dir), Path(load_weights)
    if weights.suffix in (".xml", ".bin", ".onnx"):
        raise WeightsError(f"--load-weights {weights}: is an exported model already; expected a .pth checkpoint")
    if bool(test_ann_files) != bool(test_data_roots):
        raise ExportError("--test-ann-files and --test-data-roots belong together; give both or neither")
    if segmentoly and (onnx or ovms):
        raise ExportError("--segmentoly: is written as an IR alone; leave out --onnx and --ovms, or write them to another folder "
                          "without --segmentoly")
    check_weights_file(weights, CHECKPOINTS)
    if test_ann_files:
        check_annotation_files(test_ann_files, test_data_roots)
    say("Loading", weights)
    network = _network(weights, work.config, input_size, trust_checkpoint)
    if coarse_masks:
        leave_out_point_head(network)
    from instance_segmentation.engine.config import read_config
    from instance_segmentation.ir.export import export_ir, origin_of, spread, write_onnx
    names = network.dataset_meta["classes"]
    check_classes(classes, names, weights)
    files, judge = [], None
    if test_ann_files:
        annotations = read_annotations(test_ann_files, test_data_roots, classes=names, all_classes=False)
        files = [image["file_name"] for image in annotations.images]
        judge = partial(find_thresholds, read_config(work.config), annotations)
    result = export_ir(weights, save_model_to, network=network, template=work.template.name, fp16=fp16,
                       channel_order=openvino_input_format, samples=files, parity_images=parity_images, judge=judge,
                       two_inputs=segmentoly)
    _tell(result, work, fp16)
    if onnx:
        written = write_onnx(network, Path(save_model_to) / "model.onnx", origin=origin_of(weights), template=work.template.name,
                             channel_order=openvino_input_format, samples=spread(files, parity_images),
                             facts={key: getattr(result.info, key) for key in ("confidence_threshold", "class_thresholds")})
        _tell_onnx(written)
    if ovms:
        _tell_ovms(write_repository(result.path, ovms), ovms, result.info)
    return result


def leave_out_point_head(network):
    """Take the point head from a PointRend network, in place: its masks are then the coarse ones that the head would refine.

    Raises:
        ExportError: There is none.
    """
    heads = getattr(network, "roi_head", None)
    if getattr(heads, "point_head", None) is None:
        raise ExportError(f"--coarse-masks: the network is a {type(network).__name__} without a point head; leave the flag out")
    heads.point_head = None
    height, width = heads.mask_head.output_size
    say("Masks", f"{height}×{width} cells of each box, as PointRend has them before its point head, which is left out: coarser "
        "than the checkpoint's")


def write_repository(xml, name):
    """Lay copies of an IR out as OpenVINO Model Server expects it.

    `ovms/NAME/1/model.xml` beside the model is the model itself, for this tool and the Open Model Zoo's demo. Model API sends
    photos as they are: for its adapter `ovms_mapi/NAME/1/model.xml` has the resize in the graph, unless that keeps the aspect
    ratio, which OpenVINO's cannot.

    Returns:
        Path of the former repository, the folder `ovms`.
    """
    import openvino as ov

    from instance_segmentation.ir.info import entries_of, read_graph
    from instance_segmentation.ir.preprocessing import taking_photos
    plain, photos = (xml.parent / kind / name / "1" for kind in ("ovms", "ovms_mapi"))
    plain.mkdir(parents=True, exist_ok=True)
    for file in (xml, xml.with_suffix(".bin")):
        shutil.copyfile(file, plain / file.name)
    model = read_graph(xml)
    if entries_of(model).get("resize_type", "standard") == "standard":
        photos.mkdir(parents=True, exist_ok=True)
        ov.save_model(taking_photos(model), photos / xml.name, compress_to_fp16=False)
    return xml.parent / "ovms"


def _tell_ovms(repository, name, info):
    """Say how to serve the model and how to use it."""
    say("Repository", f"{repository}, for OpenVINO Model Server")
    say("", f"  serve it   docker run --rm -p 8000:8000 -v {repository.resolve()}:/models openvino/model_server "
        f"--model_path /models/{name} --model_name {name} --rest_port 8000")
    if info.resize_type == "standard":
        say("", f"             (for clients with Model API serve {repository.parent / 'ovms_mapi'}, which takes photos of any "
            "size)")
    say("", f"  use it     instseg demo -m localhost:8000/models/{name} --adapter ovms --labels "
        f"{repository.parent / 'labels.txt'} -i a.jpg -o found.jpg")


def convert_to_onnx(source, output, *, load_weights=None, input_size=None, trust_checkpoint=False):
    """Write a template's or a work dir's network as ONNX, checked against the checkpoint on noise.

    Args:
        source: A work dir, or a template's name or path.
        output: The .onnx file to write.
        load_weights: A .pth checkpoint; by default the snapshot in the work dir, or the template's, which is downloaded.
        input_size: (height, width) in pixels, multiples of 32; the checkpoint's own when None.
        trust_checkpoint: Unpickle arbitrary objects of the checkpoint.

    Returns:
        An `ir.export.ExportResult`.

    Raises:
        WeightsError: There are no weights, or they do not fit.
        TemplateError: `source` is neither, or the input size is no multiple of 32.
        ExportError: The network has no counterpart in ONNX, or the gate found a difference.
    """
    template = find_template(source)
    if load_weights:
        check_weights_file(load_weights, CHECKPOINTS)
    with tempfile.TemporaryDirectory(prefix="instseg-") as folder:
        weights = Path(load_weights) if load_weights else snapshot_of(template, Path(folder))
        network = _network(weights, template.path / template.config, input_size, trust_checkpoint)
        from instance_segmentation.ir.export import origin_of, write_onnx
        result = write_onnx(network, Path(output), origin=origin_of(weights), template=template.name)
    _tell_onnx(result)
    return result


def snapshot_of(template, folder, offline=False):
    """The template's own weights: the file beside its template.yaml, or its snapshot, downloaded into `folder`.

    With `offline` it comes from the cache.

    Raises:
        WeightsError: The template has none.
        DownloadError: They cannot be had.
    """
    name = template.initial_weights
    if name and (template.path / name).is_file():
        return template.path / name
    if template.snapshot is None or not template.snapshot.is_url:
        raise WeightsError(f"{template.name}: comes without weights; give a checkpoint with --load-weights FILE")
    with progress("snapshot") as show:
        fetch(template.snapshot.source, folder / "snapshot.pth", size=template.snapshot.size, sha256=template.snapshot.sha256,
              offline=offline, progress=show)
    return folder / "snapshot.pth"


def find_thresholds(cfg, annotations, xml):
    """The scores from which an IR's detections are worth showing, by best F1 at mask IoU 0.5; printed as a table.

    Args:
        cfg: The work dir's Config.
        annotations: `coco.Annotations` in the model's class order.
        xml: The IR.

    Returns:
        The fields of IrInfo to store: `confidence_threshold` and `class_thresholds`, where a class without a hit takes that of
        all classes. Nothing when no detection of any class is a hit.
    """
    from instance_segmentation.engine.metrics import segm_matches
    from instance_segmentation.ir.detector import ExportedDetector
    from instance_segmentation.ir.thresholds import thresholds
    model = ExportedDetector(xml)
    _, detections = detect(model, cfg, annotations)
    with tempfile.TemporaryDirectory(prefix="instseg-") as folder:
        matches = segm_matches(annotations.write(Path(folder) / "truth.json"), detections)
    together, of_class = thresholds(matches, model.info.score_threshold)
    if together is None:
        say("Thresholds", "none: the model finds no object of the given images at mask IoU 0.5. Model API will show all its "
            "detections, instseg demo those from 0.5; give more images or train longer")
        return {}
    say("Thresholds", f"best F1 at mask IoU 0.5 on {len(annotations.images)} images. They are stored in the model, for showing "
        "detections; evaluation uses them all")
    counts = [objects for _, _, objects in matches]
    table("", ("class", "objects", "score ≥", "precision", "recall", "F1"),
          [(name, count, *(map(number, own) if own else (number(together.score), *"–––"))) for name, count, own
           in zip((*annotations.classes, "all"), (*counts, sum(counts)), (*of_class, together), strict=True)])
    return dict(confidence_threshold=together.score, class_thresholds=tuple((own or together).score for own in of_class))


def _network(weights, config, input_size, trust):
    """The checkpoint's network, for another input size if asked."""
    from instance_segmentation.engine import register
    register("Exporting")
    from instance_segmentation.engine.config import check_input_size
    from instance_segmentation.engine.network import load_network
    network = load_network(weights, config=config, trust=trust)
    if input_size:
        check_input_size(input_size)
        network.input_size = tuple(input_size)
    return network


def _tell_onnx(result):
    """Say what was written as ONNX, how it was checked and how to run it."""
    say("Exported", f"{result.path}, ONNX of standard operators, {result.size_mb:.1f} MB")
    say("Checked", f"in ONNX Runtime: {result.parity.summary()}")
    say("Expects", _expected(result.info))
    say("Run it", f"onnxruntime.InferenceSession('{result.path}').run(None, {{'image': …}})")


def _expected(info, image="image"):
    """What a model's input `image` takes, in words."""
    height, width = info.input_size
    return (f"'{image}' [1, 3, {height}, {width}] float32, {info.channel_order}, 0–255 as read from the file: the mean is inside "
            f"the graph. {RESIZES[info.resize_type].format(info.pad_value)}")


def _tell(result, work, fp16):
    """Say what was written, how it was checked, what it expects and how to run it."""
    info = result.info
    say("Exported", f"{result.path} and model.bin, {'FP16' if fp16 else 'FP32'} weights, {result.size_mb:.1f} MB")
    say("Checked", result.parity.summary())
    say("Precision", "compared in float32, as instseg computes. Other clients leave it to OpenVINO: on processors with BF16 "
        "their scores differ by some hundredths")
    if not result.golden:
        say("", "Nothing was found in the samples, so there are none to test the model with on other machines (check-ir "
            "--selftest): give images in which it finds something, or train longer")
    if not result.parity.real_images:
        say("", "Only noise was used: no images were given. Give your validation images to check on what matters: "
            "--test-ann-files and --test-data-roots")
    image, *others = result.contract.inputs or ("image",)
    say("Expects", _expected(info, image))
    if others:
        say("", f"'{others[0]}' [1, 3] float32: height and width in pixels of what the image covers of that, and 1")
    say("Gives", result.contract.gives)
    _tell_how_to_run(result, work)


def _tell_how_to_run(result, work):
    """List the programs that can run an exported model, each with its command."""
    info, folder = result.info, result.path.parent
    height, width = info.input_size
    say("Run it", "")
    order = "" if info.channel_order == "BGR" else "[..., ::-1]"
    cannot = {"Model API"} if result.contract.model_type != "MaskRCNN" else set()
    cannot |= {"OMZ demo"} if info.channel_order == "RGB" else set()  # it feeds what OpenCV reads, BGR
    cannot |= {"OpenVINO", "OMZ demo"} if info.resize_type != "standard" else set()  # they would stretch the image
    cannot |= {"OpenVINO", "Model API"} if result.contract.inputs else set()  # one input is sent; height and width are swapped
    for title, command in (
            ("this tool", f"python {work.path / 'eval.py'} --load-weights {result.path} --test-ann-files FILE --test-data-roots "
             "DIR --save-metrics-to metrics.yaml"),
            ("OpenVINO", f"openvino.compile_model('{result.path}')(cv2.resize(cv2.imread('a.jpg'), ({width}, {height})){order}"
             ".transpose(2, 0, 1)[None].astype('float32'))"),
            ("pictures", f"instseg demo -m {result.path} -i a.jpg -o found.jpg"),
            ("Model API", f"model_api.models.Model.create_model('{result.path}')(cv2.imread('a.jpg'){order})"),
            ("OMZ demo", f"instance_segmentation_demo.py -m {result.path} --labels {folder / 'labels.txt'} -i a.jpg")):
        if title not in cannot:
            say("", f"  {title:<10} {command}")
