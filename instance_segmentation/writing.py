"""Write a file whole or not at all, and never over one that is being read."""

import contextlib
import os
import secrets
from pathlib import Path

from instance_segmentation.errors import MediaError


class Inputs:
    """Files that are being read. Nothing may be written over them, whatever other names (links, `..`) they go by.

    Args:
        paths: The files; what is none, such as a camera's number, is left out.
    """

    def __init__(self, paths=()):
        self.places = {place for path in paths if (place := _place(path))}

    def refuse(self, path):
        """Raise MediaError when writing to `path` would replace one of them."""
        if _place(path) in self.places:
            raise MediaError(f"{path}: is an input and would be overwritten; choose another name for the output")


def _place(path):
    """What tells a file from all others of this machine; None where there is no file."""
    try:
        status = os.stat(path)
    except (OSError, ValueError):  # ValueError: a name that no file can have
        return None
    return status.st_dev, status.st_ino


@contextlib.contextmanager
def replacing(path):
    """Yield a temporary path beside `path`; what the block writes there becomes `path` in one step, safe on the disk.

    A block that fails, a full disk or a kill leaves `path` as it was. Each call has a temporary name of its own, so two programs
    that write the same file each write a whole one; the later one's stays.
    """
    path = Path(path)
    temporary = path.with_name(f"{path.name}.{os.getpid()}-{secrets.token_hex(4)}.tmp")
    try:
        yield temporary
        _sync(temporary)
        os.replace(temporary, path)
        _sync(path.parent)
    finally:
        temporary.unlink(missing_ok=True)


def remove_unfinished(folder, names):
    """Delete what `replacing` left in a folder when its process was killed.

    Args:
        folder: Where nobody writes such files now.
        names: Pattern of the files' final names.
    """
    for left in Path(folder).glob(f"{names}*.tmp"):
        left.unlink(missing_ok=True)


def _sync(path):
    """Wait until a file's content, or a folder's list of names, is on the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
