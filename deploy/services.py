"""Starts, stops and watches the services of a compose project on a Docker engine.

What `docker compose` would do with the same files, as far as vidsim needs it, so that a Docker
engine is enough. Readiness is asked for by running each service's own health check inside its
container: not every engine runs them on a timer.
"""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..schemas.errors import DeployError
from ..schemas.results import ServiceStatus
from .compose import FOLDER, Project, Service
from .engine import open_engine, translated

Tell = Callable[[str], None]
"""Says on stderr what is being done."""

_PROJECT_LABEL = "vidsim.project"
_DIGEST_LABEL = "vidsim.digest"
_HOME_LABEL = "vidsim.home"
_SECRETS_LABEL = "vidsim.secrets"


@dataclass(frozen=True)
class Owner:
    """Whose volumes they are: a home, and a digest of the secrets in it."""

    home: Path
    secrets_digest: str


_STOP_S = 30
"""Seconds for Milvus to write what it holds in memory before it is killed."""

_NANOSECONDS = 1_000_000_000
"""In a second; the unit of a health check in Docker's API."""

_PAUSE_S = 1
"""Seconds between two health checks on a wait."""

_NEWS_S = 10
"""Seconds between two lines on a long wait."""


def up(project: Project, owner: Owner, tell: Tell) -> None:
    """Starts what is not yet running, each service once those before it are ready.

    Running it again changes nothing, or what has changed in the files; after an interruption it
    goes on.

    Args:
        project: What to run.
        owner: Whose volumes they are.
        tell: Says what is being done.

    Raises:
        DeployError: The engine, an image, a port or a service is not there or fails.
    """
    with open_engine() as client:
        _ensure_volumes(client, project, owner)
        _ensure_network(client, project)
        for name, service in project.services.items():
            container = _ensure_container(client, project, name, service, tell)
            _wait_until_ready(container, name, service, tell)


def down(project: Project, *, volumes: bool, tell: Tell) -> None:
    """Stops and removes containers and network, and the volumes too if told so.

    Args:
        project: What may be running.
        volumes: Whether what Milvus stored goes too.
        tell: Says what is being done.

    Raises:
        DeployError: The engine cannot be reached, or refuses.
    """
    with open_engine() as client:
        for container in reversed(_containers(client, project)):
            tell(f"Stopping {container.name} ...")
            _remove(container)
        with translated("remove the network"):
            for network in client.networks.list(filters={"label": _label(project)}):
                network.remove()
        for name in project.volumes if volumes else ():
            if volume := _volume(client, project, name):
                tell(f"Removing the volume {volume.name} ...")
                with translated(f"remove the volume {volume.name}"):
                    volume.remove()


def status(project: Project) -> list[ServiceStatus]:
    """How the services are.

    Raises:
        DeployError: The engine cannot be reached.
    """
    with open_engine() as client:
        found = {c.labels["vidsim.service"]: c for c in _containers(client, project)}
        services = []
        for name, service in project.services.items():
            container = found.get(name)
            state = container.status if container else "absent"
            services.append(
                ServiceStatus(
                    service=name,
                    state=state,
                    ready=state == "running" and _is_ready(container, service),
                    image=service.image,
                    address=address(service),
                )
            )
    return services


def logs(project: Project, name: str, *, tail: int, follow: bool) -> Iterator[str]:
    """The last lines of a service's log, and the coming ones if told so.

    Raises:
        DeployError: There is no such service or no container of it, or the engine is away.
    """
    if name not in project.services:
        known = ", ".join(project.services)
        raise DeployError(f"No service is called {name!r}; choose from {known}.")
    with open_engine() as client:
        container = _container(client, project, name)
        if container is None:
            raise DeployError(f"{name} is not there; start it with 'vidsim up'.")
        with translated(f"read the log of {name}"):
            if not follow:
                yield from container.logs(tail=tail).decode(errors="replace").splitlines()
                return
            rest = b""
            for chunk in container.logs(tail=tail, stream=True, follow=True):
                *lines, rest = (rest + chunk).split(b"\n")
                for line in lines:
                    yield line.decode(errors="replace")


def address(service: Service) -> str | None:
    """Where a service is reached from this machine; None where it is not."""
    for port in service.published.values():
        return f"http://127.0.0.1:{port}"
    return None


def _label(project: Project) -> str:
    return f"{_PROJECT_LABEL}={project.name}"


def _containers(client: Any, project: Project) -> list[Any]:
    """The project's containers in the order in which they were made."""
    with translated("list containers"):
        found = client.containers.list(all=True, filters={"label": _label(project)})
    return sorted(found, key=lambda container: str(container.attrs["Created"]))


def _container(client: Any, project: Project, name: str) -> Any | None:
    matching = (c for c in _containers(client, project) if c.labels["vidsim.service"] == name)
    return next(matching, None)


def _volume(client: Any, project: Project, name: str) -> Any | None:
    with translated("list volumes"):
        found = client.volumes.list(filters={"name": f"{project.name}_{name}"})
    return next((v for v in found if v.name == f"{project.name}_{name}"), None)


def _ensure_volumes(client: Any, project: Project, owner: Owner) -> None:
    labels = {
        _PROJECT_LABEL: project.name,
        _HOME_LABEL: str(owner.home),
        _SECRETS_LABEL: owner.secrets_digest,
    }
    for name in project.volumes:
        volume = _volume(client, project, name)
        if volume is None:
            with translated("create a volume"):
                client.volumes.create(f"{project.name}_{name}", labels=labels)
            continue
        made_by = volume.attrs.get("Labels") or {}
        if made_by.get(_SECRETS_LABEL, owner.secrets_digest) != owner.secrets_digest:
            raise DeployError(
                f"The Docker volume {volume.name} has other passwords than the home {owner.home} "
                f"(it was made by the home {made_by.get(_HOME_LABEL)}); use that home's "
                "milvus.env, or remove the volumes with 'vidsim down --volumes'."
            )


def _ensure_network(client: Any, project: Project) -> None:
    with translated("create a network"):
        if not client.networks.list(filters={"label": _label(project)}):
            labels = {_PROJECT_LABEL: project.name}
            client.networks.create(project.name, driver="bridge", labels=labels)


def _ensure_container(
    client: Any, project: Project, name: str, service: Service, tell: Tell
) -> Any:
    """The running container of a service, made anew where its description has changed."""
    container = _container(client, project, name)
    if container is not None and container.labels[_DIGEST_LABEL] != service.digest:
        tell(f"{name} is described otherwise than it runs: making it anew ...")
        _remove(container)
        container = None
    if container is not None and container.status == "running":
        return container
    for port in service.published.values():
        _refuse_taken_port(name, port)
    if container is None:
        _ensure_image(client, service.image, tell)
        with translated(f"create {name}"):
            container = _create(client, project, name, service)
    tell(f"Starting {name} ...")
    with translated(f"start {name}"):
        container.start()
    return container


def _remove(container: Any) -> None:
    with translated(f"stop {container.name}"):
        container.stop(timeout=_STOP_S)
        container.remove(v=False)


def _create(client: Any, project: Project, name: str, service: Service) -> Any:
    from docker.types import DeviceRequest, LogConfig

    reserved = service.deploy.resources.reservations
    return client.containers.create(
        service.image,
        service.command,
        name=f"{project.name}-{name}",
        labels={
            _PROJECT_LABEL: project.name,
            "vidsim.service": name,
            _DIGEST_LABEL: service.digest,
        },
        environment=service.environment,
        ports={f"{inside}/tcp": ("127.0.0.1", out) for inside, out in service.published.items()},
        volumes=[_bind(project, volume) for volume in service.volumes],
        network=project.name,
        networking_config={project.name: client.api.create_endpoint_config(aliases=[name])},
        restart_policy={"Name": service.restart},
        security_opt=[option.replace(":", "=", 1) for option in service.security_opt],
        mem_limit=service.deploy.resources.limits.memory,
        healthcheck={
            "test": service.healthcheck.test,
            "interval": service.healthcheck.interval_s * _NANOSECONDS,
            "start_period": service.healthcheck.start_period_s * _NANOSECONDS,
            "retries": service.healthcheck.retries,
        },
        device_requests=[
            DeviceRequest(
                driver=device.driver,
                device_ids=device.device_ids,
                capabilities=[device.capabilities],
            )
            for device in (reserved.devices if reserved else [])
        ],
        log_config=LogConfig(type=service.logging.driver, config=service.logging.options),
    )


def _bind(project: Project, volume: str) -> str:
    source, target, *mode = volume.split(":")
    if source.startswith("./"):
        return ":".join([str(FOLDER / source), target, *mode])
    return ":".join([f"{project.name}_{source}", target, *mode])


def _ensure_image(client: Any, image: str, tell: Tell) -> None:
    from docker.errors import APIError, ImageNotFound

    try:
        with translated(f"look for {image}"):
            if client.images.list(name=image):
                return
        tell(f"Pulling {image} ...")
        repository, _, tag = image.rpartition(":")
        _follow_pull(client.api.pull(repository, tag, stream=True, decode=True), image, tell)
    except (APIError, ImageNotFound) as error:
        raise _no_image(image, str(error.explanation or error)) from error


def _follow_pull(events: Iterator[Mapping[str, Any]], image: str, tell: Tell) -> None:
    """Reads a pull to its end; tells of it from time to time."""
    layers: dict[str, tuple[int, int]] = {}
    told = time.monotonic()
    for event in events:
        if said := event.get("error"):
            raise _no_image(image, str(said))
        detail = event.get("progressDetail") or {}
        if event.get("status") == "Downloading" and detail.get("total"):
            layers[str(event["id"])] = (detail["current"], detail["total"])
        if layers and time.monotonic() - told > _NEWS_S:
            done, total = (sum(column) / 1e6 for column in zip(*layers.values()))
            tell(f"Pulling {image}: {done:,.0f} of {total:,.0f} MB ...")
            told = time.monotonic()


def _no_image(image: str, said: str) -> DeployError:
    return DeployError(
        f"The image {image} cannot be pulled ({' '.join(said.split())}); check the network, or "
        "load it into the engine from a file ('docker load')."
    )


def _refuse_taken_port(name: str, port: int) -> None:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError as error:
            raise DeployError(
                f"Port {port} of 127.0.0.1 is in use ({os.strerror(error.errno or 0)}), and {name} "
                f"needs it; stop what uses it, or set VIDSIM_{name.upper()}_PORT to another."
            ) from error


def _wait_until_ready(container: Any, name: str, service: Service, tell: Tell) -> None:
    """Waits for a service's health check to succeed.

    Raises:
        DeployError: It stopped, or the time that its health check allows is over.
    """
    began = told = time.monotonic()
    restarts = container.attrs.get("RestartCount", 0)
    while True:
        with translated(f"look at {name}"):
            container.reload()
        if container.status != "running" or container.attrs.get("RestartCount", 0) > restarts:
            raise _stopped(container, name)
        if _is_ready(container, service):
            return
        now = time.monotonic()
        if now - began > service.healthcheck.patience_s:
            raise DeployError(
                f"{name} was not ready after {now - began:.0f} s; 'vidsim logs {name}' says why, "
                "and 'vidsim up' goes on waiting."
            )
        if now - told > _NEWS_S:
            tell(f"Waiting for {name} ({now - began:.0f} s) ...")
            told = now
        time.sleep(_PAUSE_S)


def _stopped(container: Any, name: str) -> DeployError:
    """The error of a container that stopped by itself; it is not started over and over."""
    code = container.attrs["State"]["ExitCode"]
    with translated(f"stop {name}"):
        last = container.logs(tail=1).decode(errors="replace").strip()
        container.stop(timeout=1)
    return DeployError(
        f"{name} stopped with exit code {code}, saying {last!r}; see 'vidsim logs {name}', and run "
        "'vidsim up' again once that is mended."
    )


def _is_ready(container: Any, service: Service) -> bool:
    """Whether the service's health check succeeds in its container now."""
    from docker.errors import APIError

    test = service.healthcheck.test[1:]  # the first word, CMD, says that no shell is wanted
    with translated("run a health check"):
        try:
            return bool(container.exec_run(test).exit_code == 0)
        except APIError:  # it stopped a moment ago
            return False
