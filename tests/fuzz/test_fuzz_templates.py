"""Templates from strangers: damaged template.yaml, `_base_` chains that are read without running them, and servers that lie."""

import contextlib
import copy
import hashlib
import random
import socketserver
import threading

import pytest
import yaml

from instance_segmentation.templates import weights
from instance_segmentation.templates.catalogue import find_template, list_templates
from instance_segmentation.templates.schema import load_template
from instance_segmentation.templates.workdir import instantiate, open_workdir
from tests.unit.conftest import MINIMAL

from .harness import run
from .test_fuzz_importers import damaged, spoilt

CONTENT = bytes(range(256)) * 40


def template(folder, rng, **changes):
    """Write a template with a base; gives its folder."""
    place = folder / "templates" / "family" / "tiny"
    place.mkdir(parents=True)
    (folder / "templates" / "_base_").mkdir()
    content = {**copy.deepcopy(MINIMAL), **changes}
    for _ in range(rng.randrange(4) if not changes else 0):
        content = spoilt(content, rng)
    text = yaml.safe_dump(content, allow_unicode=True)
    if not changes and rng.random() < 0.1:
        lines = [f"{name}: &{name} [{', '.join([f'*{before}'] * 9)}]" for before, name in zip("abcdefg", "bcdefgh", strict=True)]
        text = "\n".join(["a: &a [x, x, x]", *lines, rng.choice(["name: *h", "metrics: *h", "<<: *h"])])
    (place / "template.yaml").write_bytes(damaged(text, rng) if not changes else text.encode())
    (place / "model.py").write_text('_base_ = "../../_base_/shared.py"\nsize = 64\n')
    (folder / "templates" / "_base_" / "shared.py").write_text("lr = 0.1\n")
    return place


def case_yaml(seed, folder):
    """Read it in every way, and make a work dir of it."""
    place = template(folder, random.Random(seed))
    with contextlib.suppress(Exception):
        list_templates(place.parent)
    made = instantiate(load_template(place / "template.yaml"), folder / "work", load_snapshot=False)
    open_workdir(made)
    find_template(place)


BASES = ('_base_ = "{}"', '_base_ = ["{}", "{}"]', '_base_ = ("{}",)', "_base_ = 1 + 1", "_base_ = [x for x in y]",
         "with read_base():\n    from .a import *", "_base_ = '''{}'''", "x = {}", "_base_ = _base_ = '{}'", "-" * 3000 + "1")
NAMES = ("../../_base_/shared.py", "../../_base_/other.py", "model.py", "../tiny/model.py", "/etc/passwd",
         "../../../../../etc/passwd", "\\0", "x" * 3000, "", ".", "..", "~/x.py",
         "https://example.org/a.py", "é.py", "../../_base_/link.py")


def case_bases(seed, folder):
    """Chains of `_base_` that leave their folder, go round in circles or are no Python."""
    rng = random.Random(seed)
    place = template(folder, rng, name="tiny")
    (place.parents[1] / "_base_" / "link.py").symlink_to(rng.choice(["/etc/passwd", "shared.py", "link.py", "/dev/zero"]))
    for name in ("family/tiny/model.py", "_base_/shared.py", "_base_/other.py"):
        lines = [rng.choice(BASES).replace("{}", rng.choice(NAMES)) for _ in range(rng.randrange(3))]
        (place.parents[1] / name).write_bytes(damaged("\n".join([*lines, "size = 64\n"]), rng))
    instantiate(load_template(place / "template.yaml"), folder / "work", load_snapshot=False)


class Liar(socketserver.BaseRequestHandler):
    """A server that answers as its case wants it."""

    def handle(self):
        """Read the question, send the answer."""
        with contextlib.suppress(OSError):
            self.request.recv(65536)
            for piece in self.server.answer:
                self.request.sendall(piece)


def answer(rng, port):
    """Pieces of an HTTP answer: right, cut, too long, redirected, of another kind, or none at all."""
    body = rng.choice([CONTENT, CONTENT[:-1], CONTENT + b"x", b"", CONTENT[::-1], CONTENT * 50])
    status = rng.choice(["200 OK"] * 6 + ["206 Partial Content", "416 Range", "302 Found", "404 No", "500 x", "999 ?", "abc"])
    headers = [rng.choice([f"Content-Length: {len(body)}"] * 4 + ["Content-Length: -1", "Content-Length: 99999999999", "A: b",
                                                                 "Content-Length: x", "Transfer-Encoding: chunked"])]
    if status.startswith("302"):
        places = [f"http://127.0.0.1:{port}/again", "file:///etc/passwd", "ftp://127.0.0.1/x", "//", "data:,x", "gopher://x", ""]
        headers.append(f"Location: {rng.choice(places)}")
    if status.startswith("206"):
        headers.append(rng.choice(["Content-Range: bytes 5-9/10", "Content-Range: x", "Content-Range: bytes 0-1/*"]))
    head = "\r\n".join([f"HTTP/1.1 {status}", *headers, "", ""]).encode()
    whole = head + body
    if rng.random() < 0.1:
        whole = rng.choice([b"", b"\0" * 99, whole[:rng.randrange(len(whole) + 1)], b"HTTP/1.1 200 OK\r\n" + b"a: b\r\n" * 300])
    return [whole]


def case_server(seed, folder):
    """Make a work dir whose snapshot comes from a server that lies."""
    rng = random.Random(seed)
    weights.TIMEOUT_S = 2
    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Liar) as server:
        server.daemon_threads, port = True, server.server_address[1]
        server.answer = answer(rng, port)
        threading.Thread(target=server.serve_forever, kwargs=dict(poll_interval=0.01), daemon=True).start()
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("INSTSEG_CACHE", str(folder / "cache"))
            patch.setenv("no_proxy", "127.0.0.1")
            source = dict(source=f"http://127.0.0.1:{port}/a.pth", destination="snapshot.pth", size=len(CONTENT),
                          sha256=hashlib.sha256(CONTENT).hexdigest())
            place = template(folder, rng, dependencies=[source])
            try:
                made = instantiate(load_template(place / "template.yaml"), folder / "work")
                assert (made / "snapshot.pth").read_bytes() == CONTENT
            finally:
                server.shutdown()


@pytest.mark.parametrize("case", [case_yaml, case_bases, case_server], ids=lambda case: case.__name__)
def test_templates_from_strangers(case, tmp_path):
    run(case, 2000, tmp_path).assert_clean()
