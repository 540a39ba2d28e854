"""Write a script that trains a network and finds objects with it, for people who want to read and change what happens."""

from pathlib import Path

from instance_segmentation.errors import TemplateError
from instance_segmentation.report import say, write_text
from instance_segmentation.scripting.steps import is_template
from instance_segmentation.templates.catalogue import find_mmdet_config, find_template

SCRIPTS = Path(__file__).resolve().parent / "scripts"
MODEL = "mask-rcnn_r101_fpn_1x_coco"  # cvtk's


def create_script(script, *, model=MODEL, vanilla=False, force=False):
    """Write the script.

    Args:
        script: The .py file to write.
        model: Name or path of a template, or name of one of mmdet's configurations.
        vanilla: Use mmdet's packages and none of ours; a template's network is written beside the script as a configuration of
            mmdet's, without weights, whose names and pixels are this tool's.
        force: Replace a script that is there.

    Returns:
        Path of the script.

    Raises:
        TemplateError: The model is unknown, the file is there, or a template's network is not made of mmdet's parts.
        MissingExtraError: mmdet is not installed.
    """
    script = Path(script)
    if script.suffix != ".py" or (script.exists() and not force):
        raise TemplateError(f"--script {script}: " + ("exists; choose another name, or pass --force to replace it"
                                                      if script.suffix == ".py" else "expected a name ending in .py"))
    text = (SCRIPTS / ("segm_vanilla.py" if vanilla else "segm.py")).read_text(encoding="utf-8")
    if not is_template(model):
        find_mmdet_config(model)
    elif vanilla:
        model = _write_config(model, script).name
        text = text.replace('WEIGHTS = "pretrained"', 'WEIGHTS = "none"')
    text = text.replace(f'MODEL = "{MODEL}"', f'MODEL = "{model}"').replace("segm.py", script.name)
    write_text(script, text)
    say("Script", str(script))
    say("Next", f"python {script} train --label label.txt --train train.json --valid valid.json --test test.json "
        f"--output_weights outputs/{script.stem}.pth")
    return script


def _write_config(model, script):
    """Write a template's network as a configuration of mmdet's; returns its path."""
    from instance_segmentation.engine import register
    register("--vanilla with a template")
    from instance_segmentation.engine.config import read_config
    from instance_segmentation.engine.mmdet_configs import PLAIN, as_mmdet
    template = find_template(model)
    cfg = as_mmdet(read_config(template.path / template.config), read_config(find_mmdet_config(PLAIN)))
    path = script.with_name(f"{script.stem}_model.py")
    cfg.dump(path)
    say("Network", str(path))
    return path
