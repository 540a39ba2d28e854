"""Run a model on a folder or a COCO file's images: COCO JSON, counts, pictures, crops. Needs no torch, except for checkpoints.

What is found goes into a part file image by image, so that an interrupted run goes on where it stopped, and several machines can
take a share each; `parts` makes one result of them.
"""

import hashlib
import re
from dataclasses import dataclass, replace
from pathlib import Path

from instance_segmentation.coco.files import load_coco, read_categories
from instance_segmentation.coco.findings import Findings, raise_problems, spelled
from instance_segmentation.coco.images import read_images
from instance_segmentation.data.layouts import image_root
from instance_segmentation.demo import tell_threshold
from instance_segmentation.errors import DatasetError, MediaError
from instance_segmentation.inference.metrics import Metrics
from instance_segmentation.inference.model import load_for_many
from instance_segmentation.inference.outputs import write_image
from instance_segmentation.inference.parts import Part, merge_parts, part_path
from instance_segmentation.inference.pipeline import detect, detect_tiled
from instance_segmentation.inference.sources import check_name, image_files, read_image
from instance_segmentation.ir.info import ir_files
from instance_segmentation.report import file_record, progress, say, table
from instance_segmentation.writing import Inputs

LABEL = 100  # characters of a class name in a file's; the file system has a limit


@dataclass(frozen=True)
class Images:
    """What is to be looked at.

    Attributes:
        entries: A dict per image: `id`, `file_name` relative to `root`, each once.
        root: Folder.
        category_ids: Class name → id, of a COCO file; empty for a folder.
    """

    entries: list
    root: Path
    category_ids: dict

    def ids_of(self, classes):
        """A category id for each class: the COCO file's own for the names it has, else those that follow, from 1."""
        following = max(self.category_ids.values(), default=0)
        fresh = [name for name in classes if name not in self.category_ids]
        return [self.category_ids.get(name) or following + 1 + fresh.index(name) for name in classes]


def predict(model, source, output, *, data_root=None, shard=(1, 1), masks="rle", draw=False, crops=None, adapter="openvino",
            num_infer_requests=0, tile=None, overlap=0.25, **loading):
    """Detect in all images of a folder or a COCO file, and write what is found.

    Args:
        model: .xml, .bin, .onnx or .pth, or with the adapter `ovms` HOST:PORT/models/NAME[:VERSION].
        source: Folder of images, or COCO file; its annotations are not read.
        output: Folder for `predictions.json`, a COCO file whose annotations have scores, `counts.csv`, and the part file. What an
            earlier run with the same model and settings found is kept.
        data_root: Folder of a COCO file's images; looked for when None.
        shard: (i, n): take only every n-th image from the i-th on, and leave the merging to `merge_predictions`.
        masks: `rle` or `polygon`.
        draw: Write pictures/ with what was found drawn in.
        crops: Write crops/ with each object cut out, by its `mask` or its `box`.
        adapter: `openvino` or `ovms`.
        num_infer_requests: Images inferred at the same time; 0 leaves it to the device.
        tile, overlap: Detect in tiles of this many pixels that overlap by this share; None: in whole images.
        loading: As of `load_for_many`.

    Returns:
        Path of predictions.json; of the part file when there are several shards.

    Raises:
        DatasetError: The COCO file is wrong.
        MediaError: There are no images, some cannot be read (all others are done then), the output was begun otherwise, or cannot
            be written.
        WeightsError: The model cannot be loaded.
    """
    images, output = list_images(Path(source), data_root), Path(output)
    detector = load_for_many(model, adapter=adapter, **loading)
    tell_threshold(detector)
    settings = dict(model=digest_of(model), classes=detector.classes, category_ids=images.ids_of(detector.classes),
                    threshold=detector.threshold, mask_threshold=detector.mask_threshold, resize=repr(detector.resize),
                    rgb=detector.rgb, masks=masks, draw=draw, crops=crops, tile=tile, overlap=overlap, adapter=adapter,
                    **{name: loading.get(name) or None for name in ("device", "speed", "layout", "mean_pixel")})
    inputs = Inputs([source, *(images.root / entry["file_name"] for entry in images.entries)])
    inputs.refuse(output / "predictions.json")
    part = Part(part_path(output, shard), settings, images.entries, shard, images.root)
    done, broken, metrics = part.begin(), [], Metrics()
    say("Images", f"{len(part.mine):,} of {len(images.entries):,} in {source}"
        + (f"; {len(done):,} of them are done" if done else ""))
    pictures = readable(images.root, [name for name in part.mine if name not in done], broken)
    found = (detect_tiled(pictures, detector, metrics, tile, overlap) if tile
             else detect(pictures, detector, metrics, num_infer_requests))
    with progress("Predicting") as show, part.open() as write:
        for frame, prediction in found:
            save_pictures(replace(prediction, image_bgr=frame.image), frame.name, output, draw, crops, inputs)
            write(frame.name, prediction.size_hw, prediction.to_coco(category_ids=settings["category_ids"], masks=masks))
            metrics.finished(frame.began)
            show(len(done) + metrics.frames, len(part.mine))
    if metrics.frames > 1:
        say("Speed", f"{dict(metrics.report())['FPS']} images/s")
    return _finished(part, broken, shard, output)


def _finished(part, broken, shard, output):
    """What a run gives whose images are done, but for those that are `broken`."""
    if broken:
        raise MediaError(f"{spelled(len(broken), 'image')} cannot be read (first: {broken[0]}), the others are done; mend "
                         "them or take them out, and run the same command again")
    if shard[1] > 1:
        say("Output", f"{part.path}; when all shares are done: instseg predict --merge {output} … -o FOLDER")
        return part.path
    return merge_predictions([output], output)


def merge_predictions(folders, output):
    """Make one predictions.json and one counts.csv of the part files of all shards, as a run without shards does.

    Args:
        folders: Where the part files are.
        output: Folder to write to.

    Returns:
        Path of predictions.json.

    Raises:
        MediaError: Part files are missing, not finished, or of different runs; or the output cannot be written.
    """
    path, counts = merge_parts([Path(folder) for folder in folders], Path(output))
    table("", ("class", "objects"), [*counts.items(), ("all", sum(counts.values()))])
    say("Output", f"{path}, {path.with_name('counts.csv')}")
    return path


def list_images(source, data_root=None):
    """The Images of a folder, by name, or of a COCO file, by id; raises as `predict` does."""
    if source.suffix.lower() != ".json":
        files = image_files(source)
        entries = [dict(id=number, file_name=path.name) for number, path in enumerate(files, 1)]
        return Images(entries, files[0].parent, {})
    findings = Findings(source)
    document = load_coco(source, findings)
    names = read_categories(document, findings) if document and document["categories"] else {}
    raise_problems([findings])
    folder = source.resolve().parent
    root = Path(data_root or image_root(source, folder.parent if folder.name == "annotations" else folder))
    listed = read_images(document, root, findings)
    raise_problems([findings])
    entries = [dict(id=image["source_id"], file_name=image["name"]) for image in listed.values()]
    for entry in entries:
        check_name(entry["file_name"])
    if len({entry["file_name"] for entry in entries}) < len(entries):
        raise DatasetError(f"{source}: lists an image more than once; list each image once")
    return Images(entries, root, {name: number for number, name in names.items()})


def readable(root, names, broken):
    """Yield (name, image) of each image file below `root`; the names of those that cannot be read are added to `broken`."""
    for name in names:
        try:
            image = read_image(root / name)
        except MediaError:
            broken.append(name)
        else:
            yield name, image


def save_pictures(prediction, name, output, draw, crops, inputs):
    """Write an image's pictures: pictures/NAME, crops/NAME/001_CLASS.png."""
    inside = Path(*[part for part in Path(name).parts if part != ".." and part != Path(name).anchor])  # below the output, always
    if draw:
        write_image(output / "pictures" / inside, prediction.draw(), inputs)
    if crops:
        _remove_crops(output / "crops" / inside, inputs)
        labels = [re.sub(r"[^\w-]+", "_", label)[:LABEL] for label in prediction.names()]
        for number, (crop, label) in enumerate(zip(prediction.crops(crops), labels, strict=True), 1):
            if crop.size:
                write_image(output / "crops" / inside / f"{number:03}_{label}.png", crop, inputs)


def _remove_crops(folder, inputs):
    """Remove what an earlier run cut out of an image that was replaced since: it may have had more objects."""
    for file in folder.glob("*.png") if folder.is_dir() else ():
        if re.fullmatch(r"\d{3,}_[\w-]*", file.stem):
            inputs.refuse(file)
            file.unlink()


def digest_of(model):
    """What tells a model from others: its files' sha256, or its address."""
    path = Path(model)
    if not path.is_file():
        return str(model)
    files = ir_files(path) if path.suffix in (".xml", ".bin") else [path]
    return hashlib.sha256("".join(file_record(file)["sha256"] for file in files).encode()).hexdigest()
