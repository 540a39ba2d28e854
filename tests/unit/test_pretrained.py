"""`instseg pretrained`: what needs no network of either kind."""

import pytest

from instance_segmentation import api
from instance_segmentation.cli.pretrained import main


def test_list_is_the_templates_with_weights(capsys):
    assert main(["--list"]) == 0
    out = capsys.readouterr().out
    published = [template for template in api.list_templates() if template.snapshot]
    assert published and all(f"{template.name} " in out and template.snapshot.source in out for template in published)
    assert "yolact" not in out and "in cache" not in out


@pytest.mark.parametrize(("words", "says"), [
    (["efficientnet_b2b-mask_rcnn-48x48"], "no template 'efficientnet_b2b-mask_rcnn-48x48'; did you mean"),
    (["-mo", "mo.py"], "--model_optimizer: there is no Model Optimizer any more")])
def test_mistakes(words, says, tmp_path, capsys):
    assert main([*words, "-o", str(tmp_path)]) == 1
    assert says in capsys.readouterr().err and not list(tmp_path.iterdir())
