"""Name the formats that are not read, and say what to export instead."""

from instance_segmentation.json_files import JsonError, parse_json

HEAD = 100_000
"""Bytes of a file in which its marks are looked for."""
XML_MARKS = {
    b"<sourceAnnotation>": "LabelMe's web tool (XML): open the images with labelme and save, or convert its polygons to COCO",
    b"<bndbox>": "Pascal VOC boxes (XML), which have no outlines: draw masks, or export COCO and train with --boxes-as-masks",
}
JSON_MARKS = (
    ({"data_row", "projects"}, "a Labelbox export: convert it with Labelbox's own COCO converter"),
    ({"item", "annotations", "version"}, "a Darwin (V7) export: export COCO from V7"),
    ({"dm_format_version"}, "datumaro's own JSON: run `datum convert -f coco_instances`"),
    ({"infos", "categories", "items"}, "datumaro's own JSON: run `datum convert -f coco_instances`"),
    ({"size", "objects", "tags"}, "a Supervisely project: export COCO from it"),
    ({"classes", "tags", "projectType"}, "a Supervisely project: export COCO from it"),
    ({"imgHeight", "imgWidth", "objects"}, "Cityscapes polygons: convert them with cityscapesscripts"),
    ({"images", "annotations", "categories"}, "COCO already: it needs no import, run `instseg check-data`"),
)
LABEL_STUDIO = "a Label Studio export: choose YOLO with images or COCO when you export"


def foreign_format(source):
    """Return what a folder or file is and what to do with it, one phrase; None when it is not known.

    Args:
        source: Path that exists.
    """
    files = [source] if source.is_file() else [path for pattern in ("*", "*/*", "*/*/*") for path in sorted(source.glob(pattern))]
    for path in files[:1000]:
        if path.suffix == ".xml" and (found := _of_xml(path)):
            return found
        if path.suffix in (".json", ".ndjson") and (found := _of_json(path)):
            return found
    return None


def _of_xml(path):
    with open(path, "rb") as file:
        head = file.read(HEAD)
    return next((name for mark, name in XML_MARKS.items() if mark in head), None)


def _of_json(path):
    content = path.read_bytes()
    try:
        document = parse_json(content.split(b"\n", 1)[0] if path.suffix == ".ndjson" else content)
    except JsonError:
        return None
    if isinstance(document, list) and document and isinstance(document[0], dict):
        document = document[0]
        if "data" in document and ("annotations" in document or "completions" in document):
            return LABEL_STUDIO
    keys = set(document) if isinstance(document, dict) else set()
    return next((name for marks, name in JSON_MARKS if marks <= keys), None)
