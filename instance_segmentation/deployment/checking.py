"""Explain what a model takes and gives, check who can run it, and let it find its golden samples again."""

from pathlib import Path

from instance_segmentation.errors import ExportError, WeightsError
from instance_segmentation.ir.contract import CLIENTS, DEMO, check, read_signature
from instance_segmentation.ir.info import OWN_KEY
from instance_segmentation.ir.metadata import own_facts
from instance_segmentation.report import say, table


def check_ir(model, *, selftest=False, device="CPU"):
    """Print a model's contract and whether it keeps it.

    Args:
        model: .xml, .bin or .onnx of any tool.
        selftest: Also look for the objects of the golden samples that export.py wrote beside the IR.
        device: OpenVINO device for that.

    Returns:
        The `ir.contract.Check`s.

    Raises:
        WeightsError: The model cannot be read, or has no golden samples.
        ExportError: It breaks the contract of the Open Model Zoo demo, or does not find what it found when it was written.
    """
    path = Path(model)
    if selftest and path.suffix == ".onnx":  # of equal scores ONNX Runtime may keep others, which would look like an error
        raise WeightsError(f"--selftest {path}: the golden samples belong to the IR; give the model.xml beside it")
    signature = read_signature(path)
    _explain(path, signature)
    checks = check(signature)
    _tell(checks)
    if selftest:
        _selftest(path, device)
    if any(item.failure and DEMO in item.clients for item in checks):
        raise ExportError(f"{path}: breaks the contract of the {DEMO}, see FAILED above")
    return checks


def _explain(path, signature):
    """Say what the model is, as far as its outside tells."""
    entries, own = signature.entries, own_facts(signature.entries.get(OWN_KEY, "{}"), path)
    origin = own.get("origin") or {}
    say("Model", str(path))
    kind = signature.kind or signature.stranger
    say("Kind", kind.title if kind else "none that is known here")
    if own:
        classes = own.get("classes") or ()
        say("Written by", f"this tool, version {origin.get('version', 'unknown')}, {origin.get('precision', 'FP32')}, from "
            f"{origin.get('checkpoint', 'an unknown checkpoint')}; {len(classes)} classes: {', '.join(classes)}")
    elif entries.get("model_name"):
        say("Name", entries["model_name"])
    say("Metadata", f"Model API's: {', '.join(key for key in entries if key != OWN_KEY)}" if entries else "none of Model API's")
    table("", ("", "name", "type", "shape"),
          [(side, port.name, port.type, port.sides())
           for side, ports in (("input", signature.inputs), ("output", signature.outputs)) for port in ports])


def _tell(checks):
    """Print each check's outcome, and who can run the model."""
    for item in checks:
        say("FAILED" if item.failure else "passed", f"{item.demand} ({', '.join(item.clients)})")
        if item.failure:
            say("", f"  {item.failure}")
    refused = {client for item in checks if item.failure for client in item.clients}
    say("Runs in", ", ".join(client for client in CLIENTS if client not in refused) or "none of the programs known here")
    if refused:
        say("Not in", f"{', '.join(client for client in CLIENTS if client in refused)}; FAILED above says why and what to do")


def _selftest(path, device):
    """Look for the golden samples' objects.

    Raises:
        ExportError: What is found differs by more than the tolerance.
    """
    from instance_segmentation.ir.golden import rerun
    result = rerun(path, device)
    say("Selftest", f"on {device} in float32: {result.summary()}")
    if result.differences:
        raise ExportError(f"{path}: does not find on {device} what it found when it was written ({len(result.differences)} "
                          "differences):\n  " + "\n  ".join(result.differences[:10]) + "\nThe files were changed, or this device "
                          "computes differently: INT8 needs a processor with VNNI or AMX; otherwise try --device CPU or another "
                          "version of OpenVINO, or export the model again")
