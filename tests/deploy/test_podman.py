"""The deployment for real: 'vidsim up' to 'vidsim down' on podman's Docker API.

Run by 'make podman-test', as root. tests/helpers/podman_engine.py says what the images are.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import socket
import time
from pathlib import Path

import psutil
import pytest
from pymilvus import MilvusClient
from pymilvus.exceptions import MilvusException

from vidsim.deploy.compose import read_project
from vidsim.deploy.connection import MILVUS_PASSWORD, placeholders, read_secrets

from ..helpers.clips import write_shades
from ..helpers.command_line import vidsim
from ..helpers.podman_engine import milvus_image, podman_engine, stand_in_image
from ..helpers.readme import run_shown_python

pytestmark = pytest.mark.podman

ATTU_SERVES = 'CMD ["serve","3000"]'
ATTU_FAILS = 'CMD ["sh","-c","echo no licence; exit 3"]'


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.fixture(scope="module")
def clips(tmp_path_factory) -> Path:
    shades = {"snow/1.mkv": 240, "snow/2.mkv": 220, "3.mkv": 30}
    return write_shades(tmp_path_factory.mktemp("shared") / "clips", shades)


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    folder = tmp_path_factory.mktemp("images")
    (wheel,) = Path(os.environ["VIDSIM_TEST_MILVUS"]).glob("milvus-*.whl")
    yield {"milvus": milvus_image(folder, wheel), "stand-in": stand_in_image(folder)}
    shutil.rmtree(folder)


@pytest.fixture(scope="module")
def engine(tmp_path_factory, images):
    services = read_project(placeholders()).services
    with podman_engine(tmp_path_factory.mktemp("engine")) as engine:
        path = "ENV PATH=/milvus/bin:/bin"
        engine.load(services["milvus"].image, images["milvus"], path, "WORKDIR /milvus")
        for name in ("etcd", "minio"):
            engine.load(services[name].image, images["stand-in"], path)
        engine.load(services["attu"].image, images["stand-in"], path, ATTU_SERVES)
        yield engine


@pytest.fixture(scope="module")
def run(engine, tmp_path_factory):
    """Runs vidsim with a home of its own, the engine and free ports."""
    home = tmp_path_factory.mktemp("deployed") / "home"
    ports = {"VIDSIM_MILVUS_PORT": str(free_port()), "VIDSIM_ATTU_PORT": str(free_port())}

    def run(*words: str, fails: bool = False, **changes: str):
        done = vidsim(home, *words, DOCKER_HOST=engine.url, **(ports | changes))
        assert (done.returncode != 0) == fails, done.stdout + done.stderr
        return done

    run.home, run.ports = home, ports
    # the first start ends at the password, which 2.3.5 does not take from its environment
    assert "does not accept the token" in run("up", fails=True).stderr
    adopt_password(run)
    yield run
    run("down", "--volumes", "--yes")
    assert not engine.containers()
    assert not engine.client.volumes.list()


def adopt_password(run) -> None:
    """Milvus 2.3.5 starts with the password 'Milvus'; 2.6 takes the one in its environment."""
    uri = f"http://127.0.0.1:{run.ports['VIDSIM_MILVUS_PORT']}"
    client = MilvusClient(uri, token="root:Milvus", timeout=10)
    client.update_password("root", "Milvus", read_secrets(run.home)[MILVUS_PASSWORD])
    client.close()


def test_data_is_still_there_after_down_and_up(run, engine, clips):
    started = run("up")
    assert started.stdout.splitlines() == [
        f"milvus  http://127.0.0.1:{run.ports['VIDSIM_MILVUS_PORT']}",
        f"attu    http://127.0.0.1:{run.ports['VIDSIM_ATTU_PORT']}",
    ]
    report = json.loads(run("ingest", str(clips), "-m", "color", "--json").stdout)
    assert report["rows"] == {"color": 3}
    first = json.loads(run("query", "clips/snow/1.mkv", "--json").stdout)
    assert first["results"][0]["video_id"] == "clips/snow/2.mkv"
    assert not (run.home / "milvus.db").exists(), "the embedded Milvus was used"

    began = time.monotonic()
    run("down")
    assert time.monotonic() - began < 25, "Milvus did not stop by itself"
    assert not engine.containers()
    assert not (run.home / "settings.env").exists()
    run("up")
    again = json.loads(run("query", "clips/snow/1.mkv", "--json").stdout)
    assert again["results"] == first["results"]
    assert "Nothing new to do." in run("ingest", str(clips), "-m", "color").stderr


def test_the_readme_s_python_runs_exactly_as_printed(run, weights, tmp_path):
    run("up")
    ranks, video_ids = zip(*run_shown_python(tmp_path, run.home), strict=True)
    assert ranks == (1, 2, 3, 4, 5)
    assert len([video_id for video_id in video_ids if video_id.startswith("ucf101/")]) == 3
    assert not (run.home / "milvus.db").exists(), "the embedded Milvus was used"


def test_up_twice_leaves_the_containers_alone(run, engine):
    run("up")
    before = {name: c.id for name, c in engine.containers().items()}
    assert set(before) == {"vidsim-etcd", "vidsim-minio", "vidsim-milvus", "vidsim-attu"}
    assert "Starting" not in run("up").stderr
    assert {name: c.id for name, c in engine.containers().items()} == before


def test_a_changed_description_makes_the_container_anew(run, engine):
    run("up")
    before = {name: c.id for name, c in engine.containers().items()}
    run("up", VIDSIM_ATTU_PORT=str(free_port()))
    after = {name: c.id for name, c in engine.containers().items()}
    assert {name for name in after if after[name] != before[name]} == {"vidsim-attu"}


def test_up_starts_what_was_stopped_or_paused(run, engine):
    run("up")
    engine.containers()["vidsim-attu"].stop(timeout=1)
    found = json.loads(run("status", "--json").stdout)
    deployment = found["server"]["deployment"]
    states = {s["service"]: (s["state"], s["ready"]) for s in deployment["services"]}
    assert states["attu"] == ("exited", False)
    assert states["milvus"] == ("running", True)
    assert deployment["used"]
    assert "Starting attu" in run("up").stderr
    engine.containers()["vidsim-attu"].pause()
    run("up")
    assert engine.containers()["vidsim-attu"].status == "running"


def test_only_this_machine_and_only_with_the_password(run, engine):
    run("up")
    uri = f"http://127.0.0.1:{run.ports['VIDSIM_MILVUS_PORT']}"
    for token in ("", "root:Milvus", "root:wrong"):
        with pytest.raises(MilvusException):
            MilvusClient(uri, token=token, timeout=5).list_collections()
    published = [
        binding["HostIp"]
        for container in engine.containers().values()
        for bindings in container.attrs["HostConfig"]["PortBindings"].values()
        for binding in bindings
    ]
    assert published == ["127.0.0.1", "127.0.0.1"]


def test_secrets_are_the_owner_s_and_shown_nowhere(run, engine):
    said = run("up")
    secrets = list(read_secrets(run.home).values())
    shown = said.stdout + said.stderr + run("status", "--json").stdout + run("logs").stdout
    for process in psutil.process_iter(["cmdline"]):
        shown += " ".join(process.info["cmdline"] or [])
    assert not [secret for secret in secrets if secret in shown]
    for name in ("milvus.env", "settings.env"):
        assert (run.home / name).stat().st_mode & 0o777 == 0o600


def test_another_home_does_not_take_the_volumes_over(run, engine, tmp_path):
    run("up")
    done = vidsim(tmp_path / "other", "up", DOCKER_HOST=engine.url, **run.ports)
    assert done.returncode == 1
    assert f"made by the home {run.home})" in done.stderr


def test_the_log_of_a_service(run):
    run("up")
    lines = run("logs", "milvus", "--tail", "5").stdout.splitlines()
    assert len(lines) == 5
    assert "choose from" in run("logs", "nothing", fails=True).stderr


def test_a_port_in_use_is_named(run, engine):
    run("up")
    engine.containers()["vidsim-attu"].stop(timeout=5)
    port = run.ports["VIDSIM_ATTU_PORT"]
    with socket.socket() as other:
        other.bind(("127.0.0.1", int(port)))
        other.listen()
        said = run("up", fails=True).stderr
    assert re.search(rf"Error: Port {port} .*VIDSIM_ATTU_PORT to another", said)


def test_a_container_that_stops_at_once_says_its_last_words(run, engine, images):
    run("up")
    image = read_project(placeholders()).services["attu"].image
    engine.containers()["vidsim-attu"].remove(force=True)
    engine.load(image, images["stand-in"], "ENV PATH=/bin", ATTU_FAILS)
    try:
        said = run("up", fails=True).stderr
    finally:
        engine.containers()["vidsim-attu"].remove(force=True)
        engine.load(image, images["stand-in"], "ENV PATH=/bin", ATTU_SERVES)
    assert "attu stopped with exit code 3, saying 'no licence'" in said


def test_without_attu(run, engine):
    assert "attu" not in run("up", "--no-attu").stdout
    assert "vidsim-attu" not in engine.containers()


def test_an_image_that_is_nowhere(run, engine):
    image = read_project(placeholders()).services["attu"].image
    engine.client.images.remove(image, force=True)
    assert f"The image {image} cannot be pulled" in run("up", fails=True).stderr
