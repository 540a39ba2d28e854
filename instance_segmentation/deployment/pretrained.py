"""The templates' published weights: downloaded and checked, made checkpoints of this tool, exported to OpenVINO and ONNX."""

import contextlib
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
    failures = Failures(len(templates))
    snapshots = []
    for number, template in enumerate(templates, 1):
        say(f"[{number}/{len(templates)}]", template.name)
        with failures.of(template.name):
            snapshots.append((template, snapshot_of(template, Path(output) / template.name, offline)))
    if snapshots:  # importing torch takes seconds, which a machine without a network need not wait for
        from instance_segmentation.engine import register
        register("Converting weights")
    for template, snapshot in snapshots:
        with failures.of(template.name):
            _prepare(template, snapshot, Path(output) / template.name, onnx, segmentoly)
    failures.check()
    return [Path(output) / template.name for template in templates]


class Failures:
    """The templates that failed: each with its reason, every remedy once."""

    def __init__(self, total):
        self.total, self.names, self.remedies = total, [], []

    @contextlib.contextmanager
    def of(self, name):
        """Say why a template failed, and go on with the next."""
        try:
            yield
        except InstSegError as error:
            reason, _, remedy = str(error).partition("\n")
            say("Failed", f"{name}: {reason}")
            self.names.append(name)
            if remedy and remedy not in self.remedies:
                self.remedies.append(remedy)

    def check(self):
        """Raise when there are any.

        Raises:
            WeightsError: It names them all and how to go on.
        """
        if self.names:
            raise WeightsError("\n".join([
                f"{len(self.names)} of {self.total} models could not be made ready, see Failed above: {', '.join(self.names)}.",
                *self.remedies, "Run the same command again: it goes on where it ended"]))


def _prepare(template, snapshot, folder, onnx, segmentoly):
    """Convert and export one template's weights."""
    from instance_segmentation.engine.network import load_network, save_network
    from instance_segmentation.ir.export import export_ir, origin_of, write_onnx
    folder.mkdir(parents=True, exist_ok=True)  # weights that lie beside the template were not copied into it
    origin = origin_of(snapshot)
    if _is_ready(folder, origin, onnx, segmentoly):
        say("", f"{folder}: is ready")
        return
    say("Converting", template.name)
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
