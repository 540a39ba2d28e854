"""The quickstart's own decisions; the verbs it calls have tests of their own."""

from types import SimpleNamespace

import cv2
import numpy as np
import pytest

from instance_segmentation import quickstart
from instance_segmentation.cli import quickstart as quickstart_verb
from instance_segmentation.errors import DownloadError, MediaError, TemplateError
from instance_segmentation.inference.contact_sheet import write_contact_sheet


class FakeApi:
    """Answers `instantiate` with a folder, or with a failed download as long as a snapshot is asked for."""

    def __init__(self, reachable):
        self.reachable = reachable

    def instantiate(self, template, output, *, load_snapshot, force):
        if load_snapshot and not self.reachable:
            raise DownloadError("no route to host.\nsecond line")
        output.mkdir()
        if load_snapshot:
            (output / "snapshot.pth").touch()
        return output


def test_unreachable_snapshot_is_said_in_one_line(tmp_path, capsys):
    work, weights = quickstart._instantiate(FakeApi(reachable=False), "name", tmp_path / "work", True, False)
    assert (work, weights) == (tmp_path / "work", None)
    said = capsys.readouterr().out.splitlines()[1:]
    assert said == ["      The published snapshot could not be downloaded (no route to host): starting from random "
                    "weights."]


def test_downloaded_snapshot_is_the_start(tmp_path):
    _, weights = quickstart._instantiate(FakeApi(reachable=True), "name", tmp_path / "work", True, False)
    assert weights == tmp_path / "work" / "snapshot.pth"


def test_foreign_folder_is_left_alone(tmp_path):
    (tmp_path / "thesis.txt").write_text("mine")
    with pytest.raises(TemplateError, match="was not made by the quickstart"):
        quickstart._claim(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.txt"]


def test_own_folder_is_taken_again(tmp_path):
    assert quickstart._claim(tmp_path / "new") is False
    assert quickstart._claim(tmp_path / "new") is True


def test_table_compares_checkpoint_and_ir(tmp_path, capsys):
    files = [tmp_path / name for name in ("best.pth", "model.xml", "model.bin")]
    for path, size in zip(files, (4_200_000, 100_000, 4_000_000), strict=True):
        path.write_bytes(bytes(size))
    fixed = {"segm/AP50": 0.7, "bbox/AP": float("nan")}
    before, after = (SimpleNamespace(ms_per_image=ms, metrics={"segm/AP": ap, **fixed})
                     for ms, ap in ((300.0, 0.5), (100.0, 0.4995)))
    quickstart.compare(before, after, files[0], files[1])
    lines = [" ".join(line.split()) for line in capsys.readouterr().out.splitlines() if "MB" in line]
    assert lines == ["checkpoint 0.500 0.700 – 300 4.2 MB",
                     "IR FP32 0.499 0.700 – 100 4.1 MB 3.0x faster ΔAP -0.0005"]


def test_flags_reach_the_function():
    args = vars(quickstart_verb.parser().parse_args(["--data", "d", "--input-size", "256", "--epochs", "3"]))
    assert (str(args["data"]), args["input_size"], args["epochs"]) == ("d", (256, 256), 3)


def test_contact_sheet_holds_every_picture_in_order(tmp_path):
    colours = [(255, 0, 0), (0, 255, 0), (0, 0, 255)]
    for index, colour in enumerate(colours):
        cv2.imwrite(str(tmp_path / f"{index}.png"), np.full((20, 40, 3), colour, np.uint8))
    sheet = write_contact_sheet(sorted(tmp_path.glob("?.png")), tmp_path / "sheet.png", columns=2, tile=40, gap=4)
    image = cv2.imread(str(sheet))
    assert image.shape == (92, 92, 3)
    assert [tuple(image[y, x].tolist()) for y, x in ((24, 24), (24, 68), (68, 24))] == colours
    assert image[68, 68].tolist() == [255, 255, 255]


@pytest.mark.parametrize(("content", "message"), [(None, "no pictures"), (b"text", "not a readable image")])
def test_contact_sheet_of_nothing_is_an_error(tmp_path, content, message):
    pictures = []
    if content:
        pictures = [tmp_path / "a.png"]
        pictures[0].write_bytes(content)
    with pytest.raises(MediaError, match=message):
        write_contact_sheet(pictures, tmp_path / "sheet.png")
