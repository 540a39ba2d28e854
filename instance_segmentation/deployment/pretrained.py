"""The templates' published weights: downloaded and checked, made checkpoints of this tool, exported to OpenVINO and ONNX."""

from pathlib import Path

from instance_segmentation.deployment.exporting import snapshot_of
from instance_segmentation.errors import InstSegError, WeightsError
from instance_segmentation.report import say
from instance_segmentation.templates.catalogue import find_template, list_templates
from instance_segmentation.templates.weights import cache_path, matches


def list_published(root=None):
    """Templates under `root` (the packaged ones when None) that come with weights, each with whether the cache has these."""
    return [(template, _is_cached(template.snapshot)) for template in list_templates(root)
            if template.snapshot and template.snapshot.is_url]


def _is_cached(snapshot):
    return matches(cache_path(snapshot.source, snapshot.sha256), snapshot.size, snapshot.sha256)


def prepare_published(names=(), output="data/pretrained_models", *, root=None, onnx=True, segmentoly=False, offline=False):
    """Write `NAME/{model.pth,model.xml,model.bin,model.onnx}` and labels for each template; what is there already is kept.

    Args:
        names: Templates; all that come with weights when empty.
        output: Folder.
        root: Folder of the templates; the packaged ones when None.
        onnx: Write ONNX too.
        segmentoly: Give the IR the two inputs of Segmentoly's models.
        offline: Take the weights from the cache only.

    Returns:
        The templates' folders.

    Raises:
        TemplateError: There is no such template.
        WeightsError: Some could not be made ready; all others were first.
    """
    templates = [find_template(name, root) for name in names] or [template for template, _ in list_published(root)]
    from instance_segmentation.engine import register
    register("Converting weights")
    failed = []
    for number, template in enumerate(templates, 1):
        say(f"[{number}/{len(templates)}]", template.name)
        try:
            _prepare(template, Path(output) / template.name, onnx, segmentoly, offline)
        except InstSegError as error:
            failed.append(template.name)
            say("Failed", str(error))
    if failed:
        raise WeightsError(f"{len(failed)} of {len(templates)} models could not be made ready, see Failed above: "
                           f"{', '.join(failed)}. Run the same command again: it goes on where it ended")
    return [Path(output) / template.name for template in templates]


def _prepare(template, folder, onnx, segmentoly, offline):
    """Download, convert and export one template's weights."""
    from instance_segmentation.engine.network import load_network, save_network
    from instance_segmentation.ir.export import export_ir, origin_of, write_onnx
    folder.mkdir(parents=True, exist_ok=True)
    snapshot = snapshot_of(template, folder, offline)
    origin = origin_of(snapshot)
    if _is_ready(folder, origin, onnx, segmentoly):
        say("", f"{folder}: is ready")
        return
    network = load_network(snapshot, config=template.path / template.config)
    save_network(network, folder / "model.pth", template.name)
    report = network.load_report
    say("Converted", f"{folder / 'model.pth'}, {len(report.loaded)} tensors, of these renamed {len(report.renamed)}; "
        f"not used {len(report.unused)}")
    written = [write_onnx(network, folder / "model.onnx", origin=origin, template=template.name)] if onnx else []
    # last, see _is_ready
    written.append(export_ir(snapshot, folder, network=network, template=template.name, two_inputs=segmentoly))
    for result in written:
        say("Exported", f"{result.path}, {result.size_mb:.1f} MB; {result.parity.summary()}")


def _is_ready(folder, origin, onnx, segmentoly):
    """Whether everything was written from these weights by this version; the IR is written last."""
    from instance_segmentation.ir.info import read_ir
    if not all((folder / name).is_file() for name in ("model.xml", "model.bin", "model.pth", *["model.onnx"] * onnx)):
        return False
    model, info = read_ir(folder / "model.xml")
    return info.origin == origin and (len(model.inputs) == 2) == segmentoly
