"""`compress.py` in a work dir, `instseg compress WORK_DIR`: answers that no template offers compression yet."""

from instance_segmentation.cli import run
from instance_segmentation.cli.options import add_data, add_weights, verb_parser
from instance_segmentation.errors import TemplateError

METHODS = ("quantization", "sparsity", "pruning", "binarization")


def parser(work_dir=None):
    """Build the argument parser."""
    result = verb_parser("compress", work_dir, "Compress a checkpoint by the methods that template.yaml lists under "
                         "`optimisations`; the templates of this version list none.")
    for method in METHODS:
        result.add_argument(f"--nncf-{method}", action="store_true", help=f"apply {method}")
    add_data(result, "train", required=False)
    add_data(result, "val", required=False)
    add_weights(result, "checkpoint to compress", required=False)
    return result


def main(argv=None, work_dir=None):
    """Run the verb; returns the exit code."""
    return run(parser(work_dir), argv, call)


def call(args):
    """Say what the template offers."""
    from instance_segmentation import api
    work = api.open_workdir(args.work_dir)
    asked = [f"--nncf-{method}" for method in METHODS if getattr(args, f"nncf_{method}")]
    raise TemplateError(f"got {', '.join(asked) or 'no method'}, but template {work.template.name} offers no "
                        "compression (`optimisations: null` in template.yaml). "
                        "Next: export.py; its --help lists smaller formats.")
