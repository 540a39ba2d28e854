"""Find the same picture under two names: files equal byte by byte, and pictures that look alike."""

import hashlib
import os
import warnings
from collections import defaultdict
from concurrent.futures import ThreadPoolExecutor

import numpy as np
from PIL import Image, ImageOps

from instance_segmentation.coco.images import UNREADABLE

THUMBNAIL_PX = 32
HASH_BITS_APART = 12
"""Pictures whose hashes differ in at most this many of 64 bits are compared by their thumbnails."""
LEAST_CORRELATION = 0.9
"""Of thumbnails that look alike. Copies of 95 photos at half the size, in JPEG quality 30, grey, or brighter by 30% reach 0.96 or
more, nine in ten of those cropped by 2% 0.9; different photos with such hashes 0.78 at most (474 photos, 112,101 pairs)."""
_CHUNK = 64  # pictures compared at once with all others, to bound the memory


def same_files(paths, progress=None):
    """Find files with the same content; only files of the same size are read.

    Args:
        paths: Paths, each once; those that do not exist are left out.
        progress: Called as progress(done, total) after each file that was read.

    Returns:
        List of lists of paths with one content, each list and all of them in the order of `paths`.
    """
    by_size = _grouped((path, os.path.getsize(path)) for path in paths if os.path.isfile(path))
    candidates = [path for group in by_size for path in group]
    with ThreadPoolExecutor(min(8, os.cpu_count() or 1)) as pool:
        digests = _counted(pool.map(_digest, candidates), len(candidates), progress)
        groups = _grouped(zip(candidates, digests, strict=True))
    places = {path: place for place, path in enumerate(paths)}
    return sorted((sorted(group, key=places.get) for group in groups), key=lambda group: places[group[0]])


def similar_pictures(firsts, seconds, progress=None):
    """Find pictures that look the same at 32×32 px: copies that were resized, compressed again, brightened or cropped a little.

    A 64-bit difference hash (Krawetz, "Kind of like that", 2013) finds candidates, the correlation of the thumbnails decides.

    Args:
        firsts, seconds: Paths of images.
        progress: Called as progress(done, total) after each image.

    Returns:
        (pairs, broken): list of (path of `firsts`, path of `seconds`), for each of `seconds` that has any the one that is most
        alike; list of the paths that cannot be decoded.
    """
    paths = [*firsts, *seconds]
    thumbnails, broken = _thumbnails(paths, progress)
    hashes, split, pairs = _hashes(thumbnails), len(firsts), []
    for start in range(split, len(paths), _CHUNK):
        near = np.bitwise_count(hashes[start : start + _CHUNK, None] ^ hashes[:split]) <= HASH_BITS_APART
        for second in np.flatnonzero(near.any(1)):
            candidates = np.flatnonzero(near[second])
            alike = _correlation(thumbnails[candidates], thumbnails[start + second])
            if alike.max() >= LEAST_CORRELATION:
                pairs.append((paths[candidates[alike.argmax()]], paths[start + second]))
    return pairs, broken


def _grouped(items):
    """Values with the same key, where there are several; items are (value, key)."""
    groups = defaultdict(list)
    for value, key in items:
        groups[key].append(value)
    return [group for group in groups.values() if len(group) > 1]


def _counted(results, total, progress):
    for done, result in enumerate(results, 1):
        if progress:
            progress(done, total)
        yield result


def _digest(path):
    with open(path, "rb") as file:
        digest = hashlib.sha256()
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.digest()


def _thumbnails(paths, progress):
    """Return (N, 32, 32) uint8, grey, turned by EXIF, and the paths that cannot be decoded, whose thumbnails are black."""
    result, broken = np.zeros((len(paths), THUMBNAIL_PX, THUMBNAIL_PX), np.uint8), []
    with warnings.catch_warnings(), ThreadPoolExecutor(min(8, os.cpu_count() or 1)) as pool:
        warnings.simplefilter("ignore")  # as in `images.check_images`
        for place, thumbnail in enumerate(_counted(pool.map(_thumbnail, paths), len(paths), progress)):
            if thumbnail is None:
                broken.append(paths[place])
            else:
                result[place] = thumbnail
    return result, broken


def _thumbnail(path):
    try:
        with Image.open(path) as picture:
            picture.draft("L", (2 * THUMBNAIL_PX, 2 * THUMBNAIL_PX))  # JPEG: decode at 1/8 size
            grey = ImageOps.exif_transpose(picture.convert("L"))
    except UNREADABLE:
        return None
    return np.asarray(grey.resize((THUMBNAIL_PX, THUMBNAIL_PX), Image.Resampling.BOX))


def _hashes(thumbnails):
    """Return (N,) uint64: whether each of 8×8 places is brighter than the one to its left."""
    rows = thumbnails.reshape(len(thumbnails), 8, 4, THUMBNAIL_PX).mean(2, dtype=np.float32)
    columns = np.stack([part.mean(2) for part in np.array_split(rows, 9, axis=2)], 2)  # (N, 8, 9)
    return np.packbits((np.diff(columns, axis=2) > 0).reshape(-1, 64), axis=1).view(np.uint64)[:, 0]


def _correlation(thumbnails, other):
    """Return (N,) correlations, -1 to 1, with one thumbnail; a picture of one colour is like no other."""
    vectors = np.reshape([*thumbnails, other], (len(thumbnails) + 1, -1)).astype(np.float32)
    vectors -= vectors.mean(1, keepdims=True)
    vectors /= np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-6)
    return vectors[:-1] @ vectors[-1]
