"""Downloads against a server on this machine that misbehaves on request."""

import errno
import hashlib
import http.server
import socket
import threading
import urllib.error
from types import SimpleNamespace

import pytest

from instance_segmentation.errors import DownloadError
from instance_segmentation.templates import weights
from instance_segmentation.templates.weights import cache_dir, cache_path, fetch

CONTENT = bytes(range(251)) * 8000  # 2,008,000 bytes
SHA256 = hashlib.sha256(CONTENT).hexdigest()
HALF = 900_000


class Handler(http.server.BaseHTTPRequestHandler):
    """Serves CONTENT; `server.mode` names the misbehaviour."""

    def do_GET(self):
        mode, wanted = self.server.mode, self.headers.get("Range")
        self.server.requests.append(wanted)
        if mode == "404":
            self.send_error(404)
            return
        start = int(wanted.split("=")[1].rstrip("-")) if wanted and mode != "no ranges" else 0
        body = b"x" * len(CONTENT) if mode == "other content" else CONTENT[:1000] if mode == "short file" else CONTENT
        if start >= len(body):
            self.send_error(416)
            return
        self.send_response(206 if start else 200)
        if start:
            first = start - 7 if mode == "wrong range" else start
            self.send_header("Content-Range", f"bytes {first}-{len(body) - 1}/{len(body)}")
        if mode not in ("no length", "endless"):
            self.send_header("Content-Length", str(len(body) - start))
        self.end_headers()
        body = body[start:HALF] if mode == "drop" else body[start:] * 2 if mode == "endless" else body[start:]
        self.wfile.write(body)

    def log_message(self, *args):
        """Be silent."""


@pytest.fixture
def server(monkeypatch):
    """A running server; `url`, `mode` and `requests` (the Range header of each) are attributes."""

    class Server(http.server.ThreadingHTTPServer):
        def handle_error(self, *args):
            """A client that hangs up early is part of these tests."""

    monkeypatch.setenv("no_proxy", "127.0.0.1")
    with Server(("127.0.0.1", 0), Handler) as running:
        running.mode, running.requests = "good", []
        running.url = f"http://127.0.0.1:{running.server_port}/models/net.pth"
        thread = threading.Thread(target=running.serve_forever, kwargs=dict(poll_interval=0.01))
        thread.start()
        yield running
        running.shutdown()
        thread.join()


@pytest.fixture
def get(server, tmp_path):
    """Fetch the server's file to tmp_path/out/snapshot.pth."""
    (tmp_path / "out").mkdir()

    def run(**options):
        return fetch(
            options.pop("url", server.url),
            tmp_path / "out" / "snapshot.pth",
            **{**dict(size=len(CONTENT), sha256=SHA256), **options},
        )

    return run


def test_first_digits_are_enough_where_the_publisher_states_no_more(server, get):
    server.mode = "drop"
    with pytest.raises(DownloadError, match="broke at 0.9 MB of 2.0 MB"):
        get(size=None, sha256=SHA256[:8])
    server.mode = "good"
    assert get(size=None, sha256=SHA256[:8]).read_bytes() == CONTENT
    assert server.requests[-1] == f"bytes={HALF}-"
    asked = len(server.requests)
    assert get(size=None, sha256=SHA256[:8]).read_bytes() == CONTENT and len(server.requests) == asked


@pytest.mark.parametrize("mode, message", [("other content", "expected 01234567"), ("no length", "does not say how long")])
def test_a_file_that_cannot_be_verified_by_first_digits(server, get, mode, message):
    server.mode = mode
    with pytest.raises(DownloadError, match=message):
        get(size=None, sha256="01234567")
    assert not any(path.suffix == ".pth" for path in cache_dir().rglob("*"))


def part(server):
    path = cache_path(server.url, SHA256)
    return path.with_name(path.name + ".part")


def nothing_but(folder, *names):
    return sorted(path.name for path in folder.iterdir()) == sorted(names)


def test_download_is_cached_and_reports_progress(get, server, tmp_path):
    seen = []
    assert get(progress=lambda *numbers: seen.append(numbers)).read_bytes() == CONTENT
    assert seen[0] == (0, len(CONTENT))
    assert seen[-1] == (len(CONTENT), len(CONTENT))
    (tmp_path / "out" / "snapshot.pth").unlink()
    assert get(offline=True).read_bytes() == CONTENT
    assert len(server.requests) == 1
    assert nothing_but(cache_dir(), cache_path(server.url, SHA256).name)
    assert nothing_but(tmp_path / "out", "snapshot.pth")


def test_verified_destination_needs_neither_cache_nor_network(get, server, tmp_path):
    (tmp_path / "out" / "snapshot.pth").write_bytes(CONTENT)
    get(offline=True)
    assert not server.requests


def test_writing_to_the_copy_leaves_the_cache_alone(get, server):
    with open(get(), "r+b") as file:
        file.write(b"changed")
    assert cache_path(server.url, SHA256).read_bytes() == CONTENT


def test_dropped_connection_is_resumed(get, server, tmp_path):
    server.mode = "drop"
    with pytest.raises(DownloadError, match=r"broke at 0\.9 MB of 2\.0 MB(.|\n)*same command again to resume"):
        get()
    assert nothing_but(tmp_path / "out")
    assert part(server).read_bytes() == CONTENT[:HALF]
    server.mode, seen = "good", []
    assert get(progress=lambda *numbers: seen.append(numbers)).read_bytes() == CONTENT
    assert server.requests == [None, f"bytes={HALF}-"]
    assert seen[0] == (HALF, len(CONTENT))
    assert nothing_but(cache_dir(), cache_path(server.url, SHA256).name)


def test_server_with_a_shorter_file_says_so_before_the_transfer(get, server):
    server.mode = "short file"
    with pytest.raises(DownloadError, match="has 1000 bytes, expected 2008000"):
        get()
    assert not part(server).exists()


@pytest.mark.parametrize("mode", ["no ranges", "no length"])
def test_server_that_ignores_ranges_or_states_no_length(get, server, mode):
    part(server).parent.mkdir(exist_ok=True)
    part(server).write_bytes(b"?" * 5 if mode == "no ranges" else CONTENT[:5])
    server.mode = mode
    assert get().read_bytes() == CONTENT


def test_answer_for_another_range_is_refused(get, server):
    part(server).write_bytes(CONTENT[:50])
    server.mode = "wrong range"
    with pytest.raises(DownloadError, match="asked for the rest from byte 50, the server sent 'bytes 43-"):
        get()


def test_half_written_part_with_other_bytes(get, server, tmp_path):
    part(server).write_bytes(b"?" * HALF)
    with pytest.raises(DownloadError, match="expected " + SHA256 + "(.|\n)*run the same command again"):
        get()
    assert not part(server).exists()
    assert get().read_bytes() == CONTENT


@pytest.mark.parametrize("extra", [0, 10], ids=["full length", "too long"])
def test_part_that_cannot_be_resumed_starts_over(get, server, extra):
    part(server).write_bytes(b"?" * (len(CONTENT) + extra))
    assert get().read_bytes() == CONTENT
    assert server.requests == [None]


def test_complete_part_needs_no_request(get, server):
    part(server).write_bytes(CONTENT)
    assert get().read_bytes() == CONTENT
    assert not server.requests


def test_part_longer_than_the_servers_file(get, server):
    part(server).write_bytes(CONTENT[:5000])
    server.mode = "short file"
    with pytest.raises(DownloadError, match="has 1000 bytes, expected"):
        get()
    assert server.requests == ["bytes=5000-", None]


def test_corrupt_cache_is_replaced(get, server):
    cache_path(server.url, SHA256).write_bytes(b"?" * len(CONTENT))
    assert get().read_bytes() == CONTENT


def test_404(get, server, tmp_path):
    server.mode = "404"
    with pytest.raises(DownloadError, match=r"the server has no such file \(HTTP 404"):
        get()
    assert nothing_but(tmp_path / "out")
    assert nothing_but(cache_dir())


def test_wrong_sha256_removes_the_file(get, server, tmp_path):
    server.mode = "other content"
    with pytest.raises(DownloadError, match="sha256 of the download is [0-9a-f]{64}, expected " + SHA256):
        get()
    assert nothing_but(tmp_path / "out")
    assert nothing_but(cache_dir())


@pytest.mark.parametrize(("mode", "size"), [("good", 17), ("endless", len(CONTENT))])
def test_wrong_size(get, server, tmp_path, mode, size):
    server.mode = mode
    with pytest.raises(DownloadError, match=f"bytes, expected {size}"):
        get(size=size)
    assert nothing_but(tmp_path / "out")
    assert nothing_but(cache_dir())


def test_offline_without_a_cached_file(get, server):
    with pytest.raises(DownloadError, match="--offline forbids(.|\n)*put the file at"):
        get(offline=True)
    assert not server.requests


def test_nobody_listens(get):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        with pytest.raises(DownloadError, match="the host refuses connections"):
            get(url=f"http://127.0.0.1:{taken.getsockname()[1]}/net.pth")
    assert nothing_but(cache_dir())


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (urllib.error.URLError(socket.gaierror(-2, "Name or service not known")), "name cannot be resolved"),
        (urllib.error.URLError(OSError(errno.ENETUNREACH, "x")), "no route to the network"),
        (urllib.error.URLError(OSError(errno.EHOSTUNREACH, "x")), "no route to host"),
        (TimeoutError(), "no answer within"),
    ],
    ids=["DNS", "network", "host", "timeout"],
)
def test_no_connection(get, monkeypatch, error, message):
    def fail(*args, **options):
        raise error

    monkeypatch.setattr(weights.urllib.request.OpenerDirector, "open", fail)
    with pytest.raises(DownloadError, match=message):
        get()


def test_connection_reset_keeps_what_came(get, server, monkeypatch):
    blocks = iter([CONTENT[:HALF], ConnectionResetError(errno.ECONNRESET, "Connection reset by peer")])

    def read(self, amount):
        block = next(blocks)
        if isinstance(block, Exception):
            raise block
        return block

    monkeypatch.setattr(weights.http.client.HTTPResponse, "read", read)
    with pytest.raises(DownloadError, match="broke at 0.9 MB"):
        get()
    monkeypatch.undo()
    assert len(server.requests) == 1


def test_full_disk_of_the_cache(get, server, tmp_path, monkeypatch):
    real = open

    def small_disk(path, *mode, **options):
        file = real(path, *mode, **options)
        if str(path).endswith(".part"):
            file = FullDisk(file)
        return file

    monkeypatch.setattr(weights, "open", small_disk, raising=False)
    with pytest.raises(DownloadError, match=r"the disk of .* is full: 0\.5 MB of 2\.0 MB(.|\n)*INSTSEG_CACHE"):
        get()
    monkeypatch.delattr(weights, "open")
    assert get().read_bytes() == CONTENT
    assert server.requests[1] == "bytes=524288-"


class FullDisk:
    """A file on a disk with room for half a megabyte."""

    def __init__(self, file):
        self.file = file

    def __getattr__(self, name):
        return getattr(self.file, name)

    def __enter__(self):
        return self

    def __exit__(self, *error):
        self.file.close()

    def write(self, block):
        if self.file.tell() + len(block) > 600_000:
            raise OSError(errno.ENOSPC, "No space left on device")
        return self.file.write(block)


def test_full_disk_of_the_work_dir(get, server, tmp_path, monkeypatch):
    def full(self, block):
        raise OSError(errno.ENOSPC, "No space left on device")

    get().unlink()
    real = weights.tempfile.NamedTemporaryFile

    def small_disk(**options):
        file = real(**options)
        file.write = full.__get__(file)
        return file

    monkeypatch.setattr(weights.tempfile, "NamedTemporaryFile", small_disk)
    with pytest.raises(DownloadError, match="cannot be copied to .*No space left"):
        get()
    assert nothing_but(tmp_path / "out")


def test_cache_that_cannot_be_written(get, tmp_path, monkeypatch):
    (tmp_path / "a file").write_text("")
    monkeypatch.setenv("INSTSEG_CACHE", str(tmp_path / "a file" / "cache"))
    with pytest.raises(DownloadError, match="the cache .* cannot be written (.|\n)*Set INSTSEG_CACHE"):
        get()


def test_read_only_cache_that_has_the_file_serves_it(get, server, tmp_path, monkeypatch):
    get().unlink()

    def read_only(*args):
        raise AssertionError("the cache was written to")

    monkeypatch.setattr(weights, "_locked", read_only)
    assert get().read_bytes() == CONTENT


def test_file_url_with_a_space(get, tmp_path):
    source = tmp_path / "my models" / "net.pth"
    source.parent.mkdir()
    source.write_bytes(CONTENT)
    assert get(url=source.as_uri(), offline=True).read_bytes() == CONTENT
    assert nothing_but(cache_dir())


@pytest.mark.parametrize(
    ("url", "message"),
    [("file:///no/such.pth", "cannot be copied to .*No such file"), ("file://models/net.pth", "three slashes")],
)
def test_file_url_that_cannot_work(get, url, message):
    with pytest.raises(DownloadError, match=message):
        get(url=url)


def test_file_url_with_other_contents(get, tmp_path):
    (tmp_path / "net.pth").write_bytes(b"x" * len(CONTENT))
    with pytest.raises(DownloadError, match="not the file that the template names"):
        get(url=(tmp_path / "net.pth").as_uri())
    assert nothing_but(tmp_path / "out")


def test_four_at_once_download_once(server, tmp_path):
    targets = [tmp_path / str(number) for number in range(4)]
    threads = [
        threading.Thread(target=fetch, args=(server.url, target), kwargs=dict(size=len(CONTENT), sha256=SHA256))
        for target in targets
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [target.read_bytes() == CONTENT for target in targets] == [True] * 4
    assert len(server.requests) == 1
    assert nothing_but(cache_dir(), cache_path(server.url, SHA256).name)


@pytest.mark.parametrize("path", ["/dev/zero", "/dev", "/dev/fd/0"])
def test_a_device_or_a_folder_is_no_file(tmp_path, path):
    """/dev/zero was copied until the disk was full."""
    with pytest.raises(DownloadError, match="expected a file|no such file|cannot be copied"):
        fetch(f"file://{path}", tmp_path / "x", size=1000, sha256="0" * 64)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("before, after, follows", [
    ("https://a.example/x", "https://b.example/x", True), ("http://a.example/x", "http://b.example/x", True),
    ("http://a.example/x", "https://b.example/x", True), ("https://a.example/x", "http://b.example/x", False)])
def test_a_redirect_never_gives_up_encryption(before, after, follows):
    request = weights.urllib.request.Request(before)
    again = (request, SimpleNamespace(), 302, "Found", {}, after)
    if follows:
        assert weights._StaysEncrypted().redirect_request(*again).full_url == after
    else:
        with pytest.raises(urllib.error.URLError, match="not encrypted"):
            weights._StaysEncrypted().redirect_request(*again)
