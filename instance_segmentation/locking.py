"""One program at a time in a folder; the lock ends with its process, however that ends."""

import contextlib
import errno
import fcntl
import os
import socket

NO_LOCKS = (errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP)  # file systems that know none
_held = set()  # descriptors


@contextlib.contextmanager
def alone(file, refuse):
    """Hold the lock of a file, which is made and stays.

    Args:
        file: Path.
        refuse: Called when another process holds it, with what that one wrote into it (`process 12 on host`); returns the error.

    Raises:
        What `refuse` returns.
    """
    descriptor = os.open(file, os.O_RDWR | os.O_CREAT, 0o666)
    _held.add(descriptor)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise refuse(os.read(descriptor, 200).decode(errors="replace").strip() or "another process") from None
        except OSError as error:
            if error.errno not in NO_LOCKS:
                raise
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, f"process {os.getpid()} on {socket.gethostname()}\n".encode(), 0)
        yield
    finally:
        _held.discard(descriptor)
        os.close(descriptor)


def _let_go():
    """In a forked process (a loader's): it may outlive this one for a moment, and must not hold the lock then."""
    for descriptor in _held:
        os.close(descriptor)
    _held.clear()


os.register_at_fork(after_in_child=_let_go)
