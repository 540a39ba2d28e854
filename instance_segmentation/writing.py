"""Write a file whole or not at all."""

import contextlib
import os
import secrets
from pathlib import Path


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
