"""The deployment: what its files say, how they are read, and how an engine's errors sound.

No engine is needed here: a fake one stands in. tests/deploy/test_podman.py runs the real thing.
"""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from types import SimpleNamespace

import docker
import pytest
import yaml
from docker.errors import APIError, DockerException

from vidsim.deploy import containers, services
from vidsim.deploy.compose import FOLDER, parse_project, read_project
from vidsim.deploy.connection import (
    SECRETS_FILE,
    ensure_secrets,
    forget_connection,
    placeholders,
    read_secrets,
    secrets_digest,
    write_connection,
)
from vidsim.deploy.deployment import status_table, with_deployment
from vidsim.deploy.engine import open_engine, translated
from vidsim.ingest.shards.home import Place
from vidsim.ingest.sync.status import look
from vidsim.schemas.backbones import BACKBONES
from vidsim.schemas.collections import levels
from vidsim.schemas.embedding import index_dim
from vidsim.schemas.errors import DeployError
from vidsim.schemas.modality import Modality
from vidsim.schemas.presets import DEFAULT_PRESET, PRESETS
from vidsim.schemas.results import DeploymentStatus, ServiceStatus
from vidsim.schemas.settings import SETTINGS_FILE, settings

from ..helpers.printed import printed

SECRETS = placeholders()
URI = "http://127.0.0.1:19530"


def document(**changes: object) -> dict[str, object]:
    """A compose document of one service."""
    service = {
        "image": "example/one:1.0",
        "environment": {"PASSWORD": "${SECRET:?it is secret}"},
        "restart": "unless-stopped",
        "security_opt": ["no-new-privileges:true"],
        "deploy": {"resources": {"limits": {"memory": "1g"}}},
        "logging": {"driver": "json-file", "options": {}},
        "healthcheck": {"test": ["CMD", "true"], "interval": "1s", "retries": 2},
    }
    return {"name": "vidsim", "services": {"one": service | changes}, "volumes": {}}


# The files


@pytest.mark.acceptance
def test_the_compose_files_fit_the_specification():
    files = [str(FOLDER / name) for name in ("compose.yaml", "compose.gpu.yaml")]
    command = [sys.executable, "-m", "check_jsonschema", "--builtin-schema", "vendor.compose-spec"]
    done = subprocess.run([*command, *files], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize("gpu", [False, True])
def test_services_are_closed_pinned_limited_and_watched(gpu):
    project = read_project(SECRETS, gpu=gpu)
    assert list(project.services) == ["etcd", "minio", "milvus", "attu"]
    for service in project.services.values():
        assert all(port.startswith("127.0.0.1:") for port in service.ports)
        tag = service.image.rpartition(":")[2]
        assert any(c.isdigit() for c in tag), f"{service.image} is not pinned"
        assert "no-new-privileges:true" in service.security_opt
        for volume in service.volumes:
            source = volume.split(":")[0]
            assert source in project.volumes or (FOLDER / source).is_file()
    assert project.services["milvus"].published == {19530: 19530}
    assert project.services["attu"].published == {3000: 8000}


def test_milvus_asks_for_a_password_and_attu_is_told_none():
    project = read_project({name: f"secret {name}" for name in SECRETS})
    milvus = project.services["milvus"].environment
    assert milvus["COMMON_SECURITY_AUTHORIZATIONENABLED"] == "true"
    assert milvus["COMMON_SECURITY_DEFAULTROOTPASSWORD"] == "secret VIDSIM_MILVUS_PASSWORD"
    assert milvus["MINIO_SECRET_ACCESS_KEY"] == "secret VIDSIM_MINIO_PASSWORD"
    assert "secret" not in str(project.services["attu"])


def test_the_gpu_override_changes_milvus_alone():
    cpu, gpu = read_project(SECRETS), read_project(SECRETS, gpu=True)
    assert {n for n in cpu.services if cpu.services[n] != gpu.services[n]} == {"milvus"}
    before, after = cpu.services["milvus"], gpu.services["milvus"]
    assert after.image == f"{before.image}-gpu"
    assert after.environment.items() > before.environment.items()
    assert after.deploy.resources.limits == before.deploy.resources.limits
    assert after.deploy.resources.reservations is not None
    (device,) = after.deploy.resources.reservations.devices
    assert (device.driver, device.capabilities) == ("nvidia", ["gpu"])


def test_the_cluster_runs_the_same_milvus_with_the_same_settings():
    milvus = read_project(SECRETS).services["milvus"]
    tag = milvus.image.rpartition(":")[2]
    differing = yaml.safe_load((FOLDER / "milvus.yaml").read_text())
    helm = yaml.safe_load((FOLDER / "helm-values.yaml").read_text())
    custom = yaml.safe_load((FOLDER / "milvus-operator.yaml").read_text())
    assert helm["image"]["all"]["tag"] == tag
    assert custom["spec"]["components"]["image"] == milvus.image
    secured = differing | {"common": {"security": {"authorizationEnabled": True}}}
    assert yaml.safe_load(helm["extraConfigFiles"]["user.yaml"]) == secured
    assert custom["spec"]["config"] == secured


def test_the_sizes_in_the_readme_follow_from_the_backbones():
    said = (FOLDER / "README.md").read_text()
    for segments, sounds, gigabytes in ((13_320, 7, "1.1"), (36_000, 10, "3.5")):
        factors = []
        for modality, rows in (("frame", 8), ("audio", sounds), ("color", 1), ("motion", 1)):
            backbone = BACKBONES[PRESETS[DEFAULT_PRESET][Modality(modality)]]
            count = rows + ("segments" in levels(backbone))
            factors.append((count, index_dim(backbone)))
        size = segments * sum(count * dim for count, dim in factors) * 4 / 1e9
        assert f"{size:.1f}" == gigabytes
        terms = " + ".join(f"{c} x {d}" if c > 1 else f"{d}" for c, d in factors)
        assert f"{segments:,} x ({terms}) x 4 B = {gigabytes} GB" in said


# Reading them


def test_services_come_after_those_they_depend_on():
    two = document()["services"]["one"]
    text = document(depends_on={"two": {"condition": "service_healthy"}})
    text["services"]["two"] = two
    assert list(parse_project(text, {"SECRET": "x"}).services) == ["two", "one"]


def test_variables_have_values_defaults_or_an_error():
    text = document(command=["${FIRST:-none}", "a${SECOND:-}b"])
    one = parse_project(text, {"SECRET": "x", "FIRST": "1"}).services["one"]
    assert one.command == ["1", "ab"]
    assert one.environment == {"PASSWORD": "x"}
    with pytest.raises(DeployError, match=r"SECRET is not set; set it \(it is secret\)\."):
        parse_project(text, {})


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"privileged": True}, "services.one.privileged"),
        ({"environment": ["A=b"]}, "services.one.environment"),
        ({"ports": ["8000:3000"]}, "services.one.ports.0"),
        ({"ports": ["0.0.0.0:8000:3000"]}, "services.one.ports.0"),
        ({"ports": ["127.0.0.1:65536:3000"]}, "'127.0.0.1:65536:3000' is no port"),
        ({"deploy": {"resources": {"limits": {"memory": "lots"}}}}, "'lots' is no size"),
        ({"volumes": ["a:/b:rw,z"]}, "services.one.volumes.0"),
        ({"restart": "always"}, "services.one.restart"),
        ({"command": ["$HOME"]}, r"\$HOME"),
        ({"command": ["${A:+b}"]}, r"A:\+b"),
    ],
)
def test_what_is_not_supported_is_refused(changes, named):
    with pytest.raises(DeployError, match=named):
        parse_project(document(**changes), {"SECRET": "x"})


@pytest.mark.parametrize(
    ("name", "value"),
    [("VIDSIM_MILVUS_PORT", "99999"), ("VIDSIM_ATTU_PORT", "x"), ("VIDSIM_MILVUS_MEMORY", "lots")],
)
def test_a_variable_with_a_wrong_value_is_named(name, value):
    with pytest.raises(DeployError, match=rf"'.*{value}.*' is no .*; correct {name}\.$"):
        read_project(SECRETS | {name: value})


@pytest.mark.parametrize("size", ["8g", "8G", "8gb", "512m"])
def test_sizes_are_written_as_docker_takes_them(size):
    milvus = read_project(SECRETS | {"VIDSIM_MILVUS_MEMORY": size}).services["milvus"]
    assert milvus.deploy.resources.limits.memory == size


def test_a_refusal_tells_no_secret():
    with pytest.raises(DeployError) as caught:
        parse_project(document(restart="${SECRET:-}"), {"SECRET": "s3cret"})
    assert "s3cret" not in str(caught.value)
    assert caught.value.__cause__ is None


def test_another_port_or_password_means_another_container():
    def digest(**variables: str) -> str:
        return read_project(SECRETS | variables).services["milvus"].digest

    assert digest() == digest()
    assert digest(VIDSIM_MILVUS_PORT="19531") != digest()
    assert digest(VIDSIM_MILVUS_PASSWORD="x") != digest()


# Secrets and settings


def test_secrets_are_made_once_at_random_for_the_owner_alone(tmp_path):
    os.umask(0o022)
    first = ensure_secrets(tmp_path / "a")
    assert ensure_secrets(tmp_path / "a") == first == read_secrets(tmp_path / "a")
    assert min(map(len, first.values())) == 48
    assert len({*first.values(), *ensure_secrets(tmp_path / "b").values()}) == 4
    assert (tmp_path / "a" / SECRETS_FILE).stat().st_mode & 0o777 == 0o600
    assert [path.name for path in (tmp_path / "a").iterdir()] == [SECRETS_FILE]


def test_a_lost_secret_is_not_made_up(tmp_path):
    ensure_secrets(tmp_path)
    (tmp_path / SECRETS_FILE).write_text("VIDSIM_MINIO_PASSWORD=a\n")
    with pytest.raises(DeployError, match="lacks VIDSIM_MILVUS_PASSWORD; restore it"):
        ensure_secrets(tmp_path)


@pytest.fixture
def home(tmp_path, monkeypatch):
    for name in ("URI", "TOKEN", "DEVICE"):
        monkeypatch.delenv(f"VIDSIM_{name}", raising=False)
    monkeypatch.setenv("VIDSIM_HOME", str(tmp_path))
    return tmp_path


def test_the_connection_is_a_setting_until_it_is_taken_back(home):
    file = home / SETTINGS_FILE
    file.write_text("# mine\nVIDSIM_DEVICE=cpu\nVIDSIM_URI=http://old:1\n")
    write_connection(home, URI, "pass'word")
    found = settings()
    assert (found.uri, found.device) == (URI, "cpu")
    assert found.token is not None
    assert found.token.get_secret_value() == "root:pass'word"
    assert file.stat().st_mode & 0o777 == 0o600
    forget_connection(home)
    assert settings().uri is None
    assert file.read_text() == "# mine\nVIDSIM_DEVICE=cpu\n"


def test_no_settings_file_is_left_empty(home):
    write_connection(home, URI, "x")
    forget_connection(home)
    assert list(home.iterdir()) == []


def test_another_server_in_the_settings_stays(home):
    (home / SETTINGS_FILE).write_text("VIDSIM_URI=http://elsewhere:19530\n")
    forget_connection(home)
    assert settings().uri == "http://elsewhere:19530"


def test_the_environment_s_server_is_not_sent_the_file_s_token(home, monkeypatch):
    write_connection(home, URI, "x")
    monkeypatch.setenv("VIDSIM_URI", "http://elsewhere:19530")
    assert settings().uri == "http://elsewhere:19530"
    assert settings().token is None


# The engine


class FakeContainer:
    def __init__(self, engine, image, command, **options):
        self.engine, self.image, self.options = engine, image, options
        self.name, self.labels = options["name"], options["labels"]
        self.status = "created"
        self.looks = 0
        self.attrs = {
            "State": {"ExitCode": 0},
            "Config": {"Image": image},
            "HostConfig": {
                "PortBindings": {
                    inside: [{"HostIp": ip, "HostPort": str(port)}]
                    for inside, (ip, port) in options["ports"].items()
                }
            },
        }
        engine.made.append(self)

    def start(self):
        if self.engine.refuses:
            raise APIError("refused", explanation=self.engine.refuses)
        self.status = "running"

    def reload(self):
        if self.name != self.engine.crashes:
            return
        self.looks += 1
        if self.looks <= self.engine.restarted_for:
            self.attrs["RestartCount"] = 1
        else:
            self.status, self.attrs["State"] = "exited", {"ExitCode": 139}

    def exec_run(self, command):
        ready = self.name != self.engine.sleeps
        return SimpleNamespace(exit_code=0 if ready else 1)

    def logs(self, **options):
        lines = [b"first", b"last words"][-options["tail"] :]
        return b"\n".join(lines)

    def stop(self, timeout):
        assert self.status != "paused", "podman refuses that"
        self.status = "exited"

    def unpause(self):
        self.status = "running"

    def remove(self, v):
        self.engine.made.remove(self)


class FakeEngine:
    """As much of ``docker.DockerClient`` as the deployment uses."""

    def __init__(self):
        self.made: list[FakeContainer] = []
        self.kept: dict[str, dict[str, str]] = {}
        self.refuses = self.crashes = self.sleeps = self.lacks = ""
        self.restarted_for = 0  # looks at what crashes that see it running again
        self.containers = SimpleNamespace(
            list=lambda **_: list(self.made),
            create=lambda image, command, **options: FakeContainer(self, image, command, **options),
        )
        self.volumes = SimpleNamespace(
            list=lambda filters: [self._volume(n) for n in self.kept if filters["name"] in n],
            create=lambda name, labels: self.kept.update({name: labels}),
        )
        self.networks = SimpleNamespace(list=lambda **_: [], create=lambda *_, **__: None)
        self.images = SimpleNamespace(list=lambda name: [] if name == self.lacks else [name])
        self.api = SimpleNamespace(
            base_url="http+docker://localhost",
            pull=self._pull,
            create_endpoint_config=lambda aliases: {"Aliases": aliases},
        )

    def close(self):
        pass

    def _volume(self, name):
        return SimpleNamespace(
            name=name, attrs={"Labels": self.kept[name]}, remove=lambda: self.kept.pop(name)
        )

    def _pull(self, repository, tag, **_):
        yield {"status": "Pulling from a registry"}
        yield {"error": f"manifest for {repository}:{tag} not found"}


@pytest.fixture
def engine(monkeypatch):
    fake = FakeEngine()
    monkeypatch.setattr(docker, "from_env", lambda **_: fake)
    monkeypatch.setattr(containers, "_PAUSE_S", 0)
    return fake


@pytest.fixture
def up(engine, tmp_path):
    """Starts the services with secrets, and gives what was told."""
    with socket.socket() as one, socket.socket() as two:
        one.bind(("127.0.0.1", 0))
        two.bind(("127.0.0.1", 0))
        ports = [str(sock.getsockname()[1]) for sock in (one, two)]
    variables = dict(zip(("VIDSIM_MILVUS_PORT", "VIDSIM_ATTU_PORT"), ports))

    def up(secret: str = "a", gpu: bool = False, **changes: str) -> list[str]:
        told: list[str] = []
        secrets = dict.fromkeys(SECRETS, secret)
        project = read_project(secrets | variables | changes, gpu=gpu)
        owner = services.Owner(tmp_path, secrets_digest(secrets))
        services.up(project, owner, told.append)
        return told

    return up


def test_services_start_once_in_order(engine, up):
    starts = ["Starting etcd ...", "Starting minio ...", "Starting milvus ...", "Starting attu ..."]
    assert up() == starts
    assert up() == []
    milvus = engine.made[2].options
    assert milvus["name"] == "vidsim-milvus"
    assert milvus["mem_limit"] == "8g"
    assert milvus["security_opt"] == ["no-new-privileges=true", "seccomp=unconfined"]
    assert milvus["volumes"] == [
        "vidsim_milvus:/var/lib/milvus",
        f"{FOLDER / 'milvus.yaml'}:/milvus/configs/user.yaml:ro",
    ]
    assert milvus["networking_config"] == {"vidsim": {"Aliases": ["milvus"]}}
    assert {binding[0] for binding in milvus["ports"].values()} == {"127.0.0.1"}


def test_the_status_tells_where_the_services_really_are(engine, up):
    up(gpu=True)
    engine.made[3].stop(timeout=1)
    engine.sleeps = "vidsim-minio"
    found = services.status(read_project(SECRETS))
    states = {s.service: (s.state, s.ready) for s in found}
    assert states == {
        "etcd": ("running", True),
        "minio": ("running", False),
        "milvus": ("running", True),
        "attu": ("exited", False),
    }
    port = engine.made[2].options["ports"]["19530/tcp"][1]
    assert found[2].address == f"http://127.0.0.1:{port}" != URI
    assert found[2].image.endswith("-gpu")
    assert found[0].address is None


def test_the_status_has_the_services_where_up_was_run(engine, up, home):
    before = look(Place(home))
    up()
    assert with_deployment(before, home) is before, "they are another home's"
    ensure_secrets(home)
    found = with_deployment(before, home)
    assert (found.server.uri, len(found.server.deployment.services)) == (None, 4)
    assert found.notes == [f"vidsim does not use {found.server.deployment.uri}."]
    engine.sleeps = "vidsim-milvus"
    assert "is not ready; run 'vidsim up'." in with_deployment(before, home).notes[-1]
    engine.made.clear()
    assert with_deployment(before, home) is before, "they were stopped"


def test_only_what_changed_is_made_anew(engine, up):
    up()
    before = list(engine.made)
    assert "milvus" in up(VIDSIM_MILVUS_MEMORY="16g")[0]
    assert [c.name for c in engine.made if c not in before] == ["vidsim-milvus"]


def test_what_runs_is_not_stopped_for_what_cannot_run(engine, up):
    up()
    before = list(engine.made)
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        with pytest.raises(DeployError, match="in use"):
            up(VIDSIM_MILVUS_PORT=str(other.getsockname()[1]))
    engine.lacks = read_project(SECRETS, gpu=True).services["milvus"].image
    with pytest.raises(DeployError, match="cannot be pulled"):
        up(gpu=True)
    assert engine.made == before
    assert {container.status for container in before} == {"running"}


def test_what_is_paused_goes_on(engine, up):
    up()
    before = list(engine.made)
    engine.made[3].status = "paused"
    assert up() == []
    assert engine.made == before
    assert engine.made[3].status == "running"
    engine.made[3].status = "paused"
    services.down(read_project(SECRETS), volumes=False, tell=lambda _: None)
    assert engine.made == []


def test_a_gpu_is_asked_for(engine, up):
    up(gpu=True, VIDSIM_GPU="1")
    asked = [container.options["device_requests"] for container in engine.made]
    assert [len(requests) for requests in asked] == [0, 0, 1, 0]
    (gpu,) = asked[2]
    assert (gpu["Driver"], gpu["DeviceIDs"], gpu["Capabilities"]) == ("nvidia", ["1"], [["gpu"]])


def test_a_pull_is_told_of(monkeypatch):
    layers = [
        {"status": "Downloading", "id": i, "progressDetail": {"current": 5e6, "total": 2e7}}
        for i in ("a", "b")
    ]
    told: list[str] = []
    clock = iter(range(0, 100, 20))
    monkeypatch.setattr(containers.time, "monotonic", lambda: next(clock))
    containers._follow_pull(iter([{"status": "Pulling"}, *layers]), "one:1", told.append)
    assert told[-1] == "Pulling one:1: 10 of 40 MB ..."


def test_down_keeps_the_volumes_unless_told(engine, up):
    up()
    project = read_project(SECRETS)
    up(VIDSIM_MILVUS_MEMORY="16g")  # made anew, after Attu
    told: list[str] = []
    assert services.down(project, volumes=False, tell=told.append)
    assert told == [f"Stopping vidsim-{n} ..." for n in ("attu", "milvus", "minio", "etcd")]
    assert engine.made == []
    assert set(engine.kept) == {"vidsim_etcd", "vidsim_minio", "vidsim_milvus"}
    assert not services.down(project, volumes=True, tell=told.append), "nothing was left to stop"
    assert engine.kept == {}


def test_volumes_with_other_passwords_are_not_started_with(up, engine, tmp_path):
    up("a")
    with pytest.raises(DeployError, match=rf"other passwords .* made by the home {tmp_path}\)"):
        up("b")


def test_an_image_that_cannot_be_pulled(engine, up):
    engine.lacks = read_project(SECRETS).services["minio"].image
    with pytest.raises(DeployError, match=r"minio/minio:\S+ cannot be pulled \(manifest .*load it"):
        up()
    engine.lacks = ""
    assert up()[0] == "Starting minio ...", "a half-started deployment goes on"


def test_a_port_in_use(up):
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = str(other.getsockname()[1])
        said = rf"Port {port} .* in use .* attu needs it; .* VIDSIM_ATTU_PORT to another\."
        with pytest.raises(DeployError, match=said):
            up(VIDSIM_ATTU_PORT=port)


@pytest.mark.parametrize("restarted_for", [0, 1, 3])
def test_a_service_that_stops(engine, up, restarted_for):
    engine.crashes, engine.restarted_for = "vidsim-milvus", restarted_for
    said = "milvus stopped with exit code 139, saying 'last words'; see 'vidsim logs milvus'"
    with pytest.raises(DeployError, match=said):
        up()


def test_a_service_that_stops_and_then_runs(engine, up, monkeypatch):
    monkeypatch.setattr(containers, "_RESTART_S", 0)
    engine.crashes, engine.restarted_for = "vidsim-milvus", 1_000
    with pytest.raises(DeployError, match="milvus stopped, saying 'last words'; see 'vidsim logs"):
        up()


def test_a_service_that_is_never_ready(engine, up, monkeypatch):
    engine.sleeps = "vidsim-milvus"
    clock = iter(range(0, 10_000, 60))
    monkeypatch.setattr(containers.time, "monotonic", lambda: next(clock))
    with pytest.raises(DeployError, match=r"milvus was not ready after \d+ s; 'vidsim logs"):
        up()


@pytest.mark.parametrize(
    ("refusal", "step"),
    [
        ('could not select device driver "nvidia"', "install NVIDIA's Container Toolkit"),
        ("driver failed: address already in use", "VIDSIM_MILVUS_PORT"),
        ("no space left on device", "free some space"),
        ("something new", "correct that"),
    ],
)
def test_what_the_engine_refuses_comes_with_the_next_step(engine, up, refusal, step):
    engine.refuses = refusal
    with pytest.raises(DeployError, match=f"Docker could not start etcd .*{step}"):
        up()


def test_an_engine_that_goes_away():
    said = "did not answer when asked to start etcd"
    with pytest.raises(DeployError, match=said), translated("start etcd"):
        raise DockerException("gone")


def test_an_engine_on_another_machine_is_refused(engine):
    engine.api.base_url = "http://10.0.0.7:2375"
    said = "DOCKER_HOST names another machine"
    with pytest.raises(DeployError, match=said), open_engine():
        pass


def test_a_socket_that_is_not_this_user_s(monkeypatch):
    def refuse(**_: object) -> None:
        try:
            raise PermissionError(13, "Permission denied")
        except PermissionError as error:
            raise DockerException("while fetching the version") from error

    monkeypatch.setattr(docker, "from_env", refuse)
    said = "may not use the Docker engine; add the user to"
    with pytest.raises(DeployError, match=said), open_engine():
        pass


# The commands


@pytest.mark.parametrize("words", [("up",), ("down",), ("logs",)])
def test_without_an_engine_it_is_said_in_one_sentence(tmp_path, words, vidsim_here):
    done = vidsim_here(tmp_path, *words, DOCKER_HOST="unix:///nowhere/docker.sock")
    assert done.returncode == 1
    assert done.stdout == ""
    assert done.stderr.startswith("Error: No Docker engine answers at unix:///nowhere/docker.sock;")
    assert done.stderr.count("\n") == 1
    assert not (tmp_path / SETTINGS_FILE).exists()


def test_the_status_needs_no_engine(tmp_path, vidsim_here):
    nowhere = {"DOCKER_HOST": "unix:///nowhere/docker.sock"}
    done = vidsim_here(tmp_path, "status", **nowhere)
    assert (done.returncode, "docker" in done.stderr.lower()) == (0, False)
    ensure_secrets(tmp_path)
    done = vidsim_here(tmp_path, "status", **nowhere)
    assert (done.returncode, done.stdout.count("embedded")) == (0, 1)
    assert "No Docker engine answers at unix:///nowhere/docker.sock;" in done.stderr


def test_volumes_are_not_removed_unasked(tmp_path, vidsim_here):
    done = vidsim_here(tmp_path, "down", "--volumes")
    assert done.returncode == 1
    assert "add --yes" in done.stderr


def test_the_status_is_a_table():
    service = ServiceStatus(
        service="milvus", state="running", ready=True, image="milvusdb/milvus:v1", address=URI
    )
    absent = ServiceStatus(service="attu", state="absent", ready=False, image="a:1", address=None)
    found = DeploymentStatus(services=[service, absent], uri=URI, used=True)
    assert printed([status_table(found)]) == [
        "service  state    ready  address                 image",
        "milvus   running  yes    http://127.0.0.1:19530  milvusdb/milvus:v1",
        "attu     absent   no                             a:1",
    ]
