"""Find the image that an annotation names, whatever tool, machine and folder the name comes from."""

from pathlib import Path, PureWindowsPath

from PIL import Image

from instance_segmentation.coco.files import is_file
from instance_segmentation.coco.findings import did_you_mean
from instance_segmentation.coco.images import UNREADABLE, oriented_size

IMAGE_SUFFIXES = {".jpg", ".jpeg", ".jfif", ".png", ".bmp", ".tif", ".tiff", ".webp", ".gif", ".jp2", ".ppm", ".pgm"}
MISSING = "{n} image|images is|are nowhere below {root}; copy them there, or export again with images"
AMBIGUOUS = "{n} image name|image names fits|fit several files; give each image a name of its own"
BROKEN = "{n} image|images cannot be opened; export or copy again"
MASK_FOLDERS = ("segmentationclass", "segmentationobject", "masks")  # pictures in them are labels


class ImageFiles:
    """The images below a folder, found by the ends of their paths, letter case and suffix forgiven.

    Args:
        root: Folder.
        findings: Where images that cannot be found or opened are noted.
    """

    def __init__(self, root, findings):
        self.root, self.findings = root, findings
        self._by_name, self._by_stem = {}, {}
        for path in sorted(root.rglob("*")):
            if path.suffix.lower() in IMAGE_SUFFIXES and path.parent.name.lower() not in MASK_FOLDERS:
                self._by_name.setdefault(path.name.lower(), []).append(path)
                self._by_stem.setdefault(path.stem.lower(), []).append(path)

    def find(self, name):
        """Return the path of the image that `name` means; None, with a note in the findings, when there is none.

        The file at that very place below the folder goes first; then the one that shares most of the name's last parts.
        """
        named = PureWindowsPath(name)  # knows both separators
        exact = self.root / named.as_posix()
        if not named.drive and ".." not in named.parts and is_file(exact):
            return exact
        candidates = self._by_name.get(named.name.lower()) or self._by_stem.get(named.stem.lower(), [])
        shared = [_shared_end(path.relative_to(self.root).parts, named.parts) for path in candidates]
        best = [path for path, length in zip(candidates, shared, strict=True) if length == max(shared)]
        if len(best) == 1:
            return best[0]
        if best:
            self.findings.problem(AMBIGUOUS, f"{name}: {', '.join(str(path.relative_to(self.root)) for path in best[:3])}")
        else:
            near = did_you_mean(named.name.lower(), self._by_name)
            self.findings.problem(MISSING.replace("{root}", str(self.root)), f"{name}{near}")
        return None

    def size(self, path):
        """Return (width, height) in px of the upright image; None, with a note in the findings, when it cannot be opened."""
        try:
            with Image.open(path) as picture:
                return oriented_size(picture)
        except UNREADABLE as error:
            self.findings.problem(BROKEN, f"{self.named(path)}: {str(error).splitlines()[0]:.80}")
            return None

    def all(self, folder=None):
        """Return the images below a folder of it, in the order of their names."""
        paths = sorted(path for found in self._by_name.values() for path in found)
        return paths if folder is None else [path for path in paths if path.is_relative_to(folder)]

    def named(self, path):
        """A path for messages."""
        return str(Path(path).relative_to(self.root)) if Path(path).is_relative_to(self.root) else str(path)


def _shared_end(one, other):
    """Number of last parts that two paths have in common; the suffix of the name does not count."""
    length = 1  # the names are alike, or these would not be candidates
    for left, right in zip(reversed(one[:-1]), reversed(other[:-1]), strict=False):
        if left.lower() != right.lower():
            break
        length += 1
    return length
