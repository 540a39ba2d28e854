"""Fetch a file whole or not at all: cached, resumed, checked by size and sha256, put in place in one step.

Plain urllib: proxies, redirects and certificates work with it, and what remains (ranges, checks, the cache) is not
offered by requests or httpx either.
"""

import contextlib
import errno
import fcntl
import hashlib
import http.client
import os
import socket
import tempfile
import urllib.error
import urllib.request
from pathlib import Path
from urllib.parse import unquote, urlsplit

from instance_segmentation import __version__
from instance_segmentation.errors import DownloadError

TIMEOUT_S = 30  # without a byte
BLOCK = 1 << 18
AGAIN = "Run the same command again to resume."


def cache_dir():
    """Folder of downloads: $INSTSEG_CACHE, or ~/.cache/instance_segmentation."""
    return Path(os.environ.get("INSTSEG_CACHE") or Path.home() / ".cache" / "instance_segmentation")


def cache_path(url, sha256):
    """Where the cache keeps a file: its own name, marked with the start of its sha256."""
    name = Path(unquote(urlsplit(url).path))
    return cache_dir() / f"{name.stem}-{sha256[:8]}{name.suffix}"


def matches(path, size, sha256):
    """Whether a file exists with this size in bytes and this digest, both as in `fetch`."""
    try:
        return os.path.getsize(path) == (size or os.path.getsize(path)) and _digest(path, sha256).startswith(sha256)
    except OSError:
        return False


def fetch(url, destination, *, size, sha256, offline=False, progress=None):
    """Put the file of a URL at `destination`, by way of the cache.

    `destination` changes only when the whole file is there and verified. An interrupted download stays in the cache as
    `.part` and is resumed. The cache's file is copied, not linked: writing to a work dir's snapshot must not change it.

    Args:
        url: http://, https:// or file://.
        destination: Path of the file to write; its folder exists.
        size: Expected size in bytes; None: what the server says.
        sha256: Expected digest, 64 lower-case hexadecimal digits; 96 of them are a sha384, which the Open Model Zoo gives; fewer
            are the first ones, of which OpenMMLab's file names have 8.
        offline: Use only the cache and file:// URLs.
        progress: Called as progress(bytes so far, size) while downloading, first before the first byte.

    Raises:
        DownloadError: The first line of the message says what went wrong, the others what to do.
    """
    destination = Path(destination)
    if matches(destination, size, sha256):
        return destination
    if urlsplit(url).scheme == "file":
        if urlsplit(url).netloc not in ("", "localhost"):
            raise DownloadError(f"{url}: names the host '{urlsplit(url).netloc}'\n"
                                "Write file:///absolute/path, three slashes.")
        source = Path(unquote(urlsplit(url).path))
        if source.exists() and not source.is_file():
            raise DownloadError(f"{url}: is a folder or a device, expected a file\nName the file that holds the weights.")
    else:
        source = cache_path(url, sha256)
        if not matches(source, size, sha256):
            if offline:
                raise DownloadError(f"{url}: not in the cache, and --offline forbids a download\n"
                                    f"Run once without --offline, or put the file at {source}")
            _download(url, source, size or _stated_size(url), sha256, progress)
    _copy(source, destination, size, sha256)
    return destination


def _download(url, target, size, sha256, progress):
    """Bring a file into the cache; of several processes one downloads and the others wait for it."""
    part = target.with_name(target.name + ".part")
    with _cache_errors(part, size), _locked(part) as file:
        if matches(target, size, sha256):  # another process was faster
            part.unlink()
            return
        if file.tell() >= size and not matches(part, size, sha256):
            file.truncate(0)
        resumed = file.seek(0, os.SEEK_END)
        if resumed < size:
            _transfer(url, file, size, progress)
        file.flush()
        os.fsync(file.fileno())
        if not matches(part, size, sha256):
            got = _digest(part, sha256)
            part.unlink()
            raise DownloadError(f"{url}: the {_hash(sha256).name} of the download is {got}, expected {sha256}\n"
                                "The file was removed. "
                                + ("It was resumed, perhaps from another version: run the same command again."
                                   if resumed else "The server's file is not the one that is named: ask who made the "
                                   "template."))
        os.replace(part, target)


@contextlib.contextmanager
def _locked(part):
    """Open the `.part` file for appending, alone: yields it positioned at its end."""
    while True:
        part.parent.mkdir(parents=True, exist_ok=True)
        with open(part, "ab") as file:
            fcntl.flock(file, fcntl.LOCK_EX)  # released by the kernel when a process dies
            if not (part.exists() and os.path.samestat(os.fstat(file.fileno()), part.stat())):
                continue  # the process we waited for has finished, so this file is no longer `part`
            try:
                yield file
            finally:
                with contextlib.suppress(OSError):  # nothing came: leave nothing
                    file.flush()
                    if part.stat().st_size == 0:
                        part.unlink()
            return


@contextlib.contextmanager
def _cache_errors(part, size):
    """Turn errors of the file system into sentences."""
    try:
        yield
    except OSError as error:
        kept = part.stat().st_size if part.is_file() else 0
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise DownloadError(f"the disk of {part.parent} is full: {megabytes(kept)} of {megabytes(size)} are there\n"
                                f"Free some space or set INSTSEG_CACHE to another folder. {AGAIN}") from error
        raise DownloadError(f"the cache {part.parent} cannot be written ({error.strerror or error})\n"
                            "Set INSTSEG_CACHE to a folder of yours.") from error


def _transfer(url, file, size, progress):
    """Append what is missing of a URL to an open file."""
    start = file.tell()
    with _open_url(url, start) as response:
        if response.status != http.HTTPStatus.PARTIAL_CONTENT or not _continues(response, start):
            if response.status == http.HTTPStatus.PARTIAL_CONTENT:
                raise DownloadError(f"{url}: asked for the rest from byte {start}, the server sent "
                                    f"'{response.headers.get('Content-Range')}'\nDelete {file.name} and run again.")
            file.truncate(0)  # the server ignores ranges
            start = file.seek(0)
        length = response.headers.get("Content-Length", "")
        if length.isdigit() and start + int(length) != size:
            file.truncate(0)
            raise _wrong_size(url, start + int(length), size)
        done = start
        for block in _blocks(response, url, file, size):
            if progress and done == start:
                progress(done, size)
            done += len(block)
            if done > size:
                file.truncate(0)
                raise _wrong_size(url, f"more than {size}", size)
            file.write(block)
            if progress:
                progress(done, size)
    if done < size:
        raise _dropped(url, file, size, "the server closed it")


def _stated_size(url):
    """The size in bytes that the server gives a file."""
    with _open_url(url, 0) as response:
        length = response.headers.get("Content-Length", "")
    if not length.isdigit():
        raise DownloadError(f"{url}: the server does not say how long the file is, and neither does the template\n"
                            "Add `size` to the dependency in template.yaml.")
    return int(length)


def _continues(response, start):
    """Whether a partial answer begins at byte `start`."""
    return response.headers.get("Content-Range", "").startswith(f"bytes {start}-")


class _StaysEncrypted(urllib.request.HTTPRedirectHandler):
    """Follows redirects, but never from https to http, where anyone on the way may change the file."""

    def redirect_request(self, req, fp, code, msg, headers, newurl):
        """Return the request that follows, or raise."""
        if urlsplit(req.full_url).scheme == "https" and urlsplit(newurl).scheme != "https":
            raise urllib.error.URLError(f"the server leads on to {newurl}, which is not encrypted")
        fp.read = lambda *_: b""  # the page would be read to its end, however long the server says it is
        return super().redirect_request(req, fp, code, msg, headers, newurl)


def _open_url(url, start):
    """Ask for the bytes of a URL from `start` on."""
    headers = {"User-Agent": f"instance-segmentation/{__version__}", "Accept-Encoding": "identity"}
    if start:
        headers["Range"] = f"bytes={start}-"
    try:
        opener = urllib.request.build_opener(_StaysEncrypted)
        return opener.open(urllib.request.Request(url, headers=headers), timeout=TIMEOUT_S)
    except urllib.error.HTTPError as error:
        with error:
            if error.code == http.HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE and start:
                return _open_url(url, 0)  # the server's file is shorter than what is here: begin again
            meaning = "the server has no such file" if error.code in (404, 410) else "the server refuses"
            raise DownloadError(f"{url}: {meaning} (HTTP {error.code} {error.reason})\nCheck the source in "
                                "template.yaml.") from error
    except (OSError, http.client.HTTPException) as error:  # URLError is an OSError
        raise DownloadError(f"{url}: {_reason(getattr(error, 'reason', error))}\n"
                            "Check the network (proxies are taken from https_proxy) and run the same "
                            "command again.") from error


def _reason(error):
    """Say in words why there is no connection."""
    if isinstance(error, socket.gaierror):
        return "the host's name cannot be resolved (no DNS or no network)"
    if isinstance(error, TimeoutError):
        return f"no answer within {TIMEOUT_S} s"
    known = {errno.ENETUNREACH: "no route to the network", errno.EHOSTUNREACH: "no route to host",
             errno.ECONNREFUSED: "the host refuses connections"}
    return known.get(getattr(error, "errno", None), f"no connection ({error})")


def _blocks(response, url, file, size):
    """Yield the answer's bytes; a broken connection is a DownloadError that says how far it came."""
    try:
        while block := response.read(BLOCK):
            yield block
    except http.client.IncompleteRead as error:
        yield error.partial
    except (OSError, http.client.HTTPException) as error:
        raise _dropped(url, file, size, f"{error}") from error


def _dropped(url, file, size, why):
    file.flush()
    done = os.fstat(file.fileno()).st_size
    return DownloadError(f"{url}: the connection broke at {megabytes(done)} of {megabytes(size)} ({why})\n"
                         f"What came is kept. {AGAIN}")


def _wrong_size(url, got, size):
    return DownloadError(f"{url}: the file has {got} bytes, expected {size}\n"
                         "It is not the file that is named: ask who made the template.")


def _copy(source, destination, size, sha256):
    """Copy and verify in one pass; `destination` appears complete or not at all."""
    digest, temporary = _hash(sha256), None
    try:
        destination.parent.mkdir(parents=True, exist_ok=True)
        with open(source, "rb") as reader, tempfile.NamedTemporaryFile(
                dir=destination.parent, prefix=f".{destination.name}-", delete=False) as writer:
            temporary = Path(writer.name)
            while block := reader.read(BLOCK):
                digest.update(block)
                writer.write(block)
            done = reader.tell()
        if done != (size or done):
            raise _wrong_size(source, done, size)
        if not digest.hexdigest().startswith(sha256):
            raise DownloadError(f"{source}: its {digest.name} is {digest.hexdigest()}, expected {sha256}\n"
                                "It is not the file that the template names.")
        temporary.chmod(0o644)
        os.replace(temporary, destination)
    except OSError as error:
        raise DownloadError(f"{source}: cannot be copied to {destination.parent} ({error.strerror})\n"
                            "Check the path and the space on its disk.") from error
    finally:
        if temporary:
            temporary.unlink(missing_ok=True)


def _hash(expected):
    """A hash that gives as many digits as are expected."""
    return hashlib.sha384() if len(expected) == 96 else hashlib.sha256()


def _digest(path, expected):
    digest = _hash(expected)
    with open(path, "rb") as file:
        while block := file.read(BLOCK):
            digest.update(block)
    return digest.hexdigest()


def megabytes(size):
    """Bytes for people."""
    return f"{size / 1e6:.1f} MB"
