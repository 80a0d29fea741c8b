"""Containers of services: create them from the compose files, start them, await readiness.

Readiness is tested by running the service's own health check inside its container: not every
engine runs health checks on a timer.
"""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from ..schemas.errors import DeployError
from .compose import FOLDER, Project, Service
from .engine import translated

Tell = Callable[[str], None]
"""Prints a progress message on stderr."""

PROJECT_LABEL = "vidsim.project"
_SERVICE_LABEL = "vidsim.service"
_DIGEST_LABEL = "vidsim.digest"

_STOP_S = 30
"""Seconds for Milvus to flush its memory before it is killed."""

_NANOSECONDS = 1_000_000_000
"""Nanoseconds per second; the unit of a health check in Docker's API."""

_PAUSE_S = 1
"""Seconds between two health checks during a wait."""

_RESTART_S = 5
"""Seconds in which a service that the engine restarted may stop again."""

_GLANCE_S = 0.02
"""Seconds between two checks for a stop, which lasts only until the engine restarts it."""

_NEWS_S = 10
"""Seconds between two messages during a long wait."""

_LAST_WORDS = 200
"""Characters shown of the last line of a log."""


def label(project: Project) -> str:
    """Return the label of all containers and networks of a project, as a filter."""
    return f"{PROJECT_LABEL}={project.name}"


def find_containers(client: Any, project: Project) -> list[Any]:
    """Find the project's containers, each after those it depends on."""
    with translated("list containers"):
        found = client.containers.list(all=True, filters={"label": label(project)})
    order = {name: place for place, name in enumerate(project.services)}
    return sorted(found, key=lambda container: order.get(_service_of(container), len(order)))


def find_container(client: Any, project: Project, name: str) -> Any | None:
    """Find the container of a service, in any state."""
    return next((c for c in find_containers(client, project) if _service_of(c) == name), None)


def _service_of(container: Any) -> str:
    """Return the service that a container runs."""
    return str(container.labels[_SERVICE_LABEL])


def published_port(container: Any) -> int | None:
    """Return the port of this machine that a container is reached at; None without one."""
    for bindings in (container.attrs["HostConfig"].get("PortBindings") or {}).values():
        for binding in bindings:
            return int(binding["HostPort"])
    return None


def ensure_container(client: Any, project: Project, name: str, service: Service, tell: Tell) -> Any:
    """Return the running container of a service, recreated if its configuration changed.

    A running one is stopped only once its replacement can start.
    """
    container = find_container(client, project, name)
    if container is not None:
        _unpause(container)
    running = container is not None and container.status == "running"
    changed = container is not None and container.labels[_DIGEST_LABEL] != service.digest
    if running and not changed:
        return container
    held = published_port(container) if running else None
    for port in service.published.values():
        if port != held:
            _refuse_taken_port(name, port)
    if container is None or changed:
        _ensure_image(client, service.image, tell)
    if changed:
        tell(f"the configuration of {name} changed; recreating it ...")
        remove(container)
        container = None
    if container is None:
        with translated(f"create {name}"):
            container = _create(client, project, name, service)
    tell(f"Starting {name} ...")
    with translated(f"start {name}"):
        container.start()
    return container


def remove(container: Any) -> None:
    """Stop and remove a container; its volumes stay."""
    _unpause(container)
    with translated(f"stop {container.name}"):
        container.stop(timeout=_STOP_S)
        container.remove(v=False)


def _unpause(container: Any) -> None:
    """Resume a paused container: not every engine stops or starts a paused one."""
    if container.status == "paused":
        with translated(f"unpause {container.name}"):
            container.unpause()
            container.reload()


def _create(client: Any, project: Project, name: str, service: Service) -> Any:
    from docker.types import DeviceRequest, LogConfig

    reserved = service.deploy.resources.reservations
    return client.containers.create(
        service.image,
        service.command,
        name=f"{project.name}-{name}",
        labels={
            PROJECT_LABEL: project.name,
            _SERVICE_LABEL: name,
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
    import requests
    from docker.errors import DockerException

    with translated(f"look for {image}"):
        if client.images.list(name=image):
            return
    tell(f"Pulling {image} ...")
    repository, _, tag = image.rpartition(":")
    try:
        _follow_pull(client.api.pull(repository, tag, stream=True, decode=True), image, tell)
    except (DockerException, requests.RequestException) as error:
        raise _no_image(image, str(getattr(error, "explanation", None) or error)) from error


def _follow_pull(events: Iterator[Mapping[str, Any]], image: str, tell: Tell) -> None:
    """Follow a pull to its end, with a message from time to time."""
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


def wait_until_ready(container: Any, name: str, service: Service, tell: Tell) -> None:
    """Wait until a service's health check succeeds.

    Raises:
        DeployError: It stopped, or exceeded the time that its health check allows.
    """
    began = told = time.monotonic()
    restarts = container.attrs.get("RestartCount", 0)
    while True:
        with translated(f"look at {name}"):
            container.reload()
        if container.status != "running" or container.attrs.get("RestartCount", 0) > restarts:
            raise _stopped(container, name)
        if is_ready(container, service):
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
    """Return the error of a container that stopped by itself, and end its restarts."""
    with translated(f"stop {name}"):
        _await_exit(container)
        how = "stopped"
        if container.status != "running":
            how += f" with exit code {container.attrs['State']['ExitCode']}"
        last = container.logs(tail=1).decode(errors="replace").strip()[-_LAST_WORDS:]
        container.stop(timeout=1)
    return DeployError(
        f"{name} {how}, saying {last!r}; see 'vidsim logs {name}', and run 'vidsim up' again once "
        "that is mended."
    )


def _await_exit(container: Any) -> None:
    """Poll until it is not running: a container that the engine restarted has only exit code 0."""
    until = time.monotonic() + _RESTART_S
    while container.status == "running" and time.monotonic() < until:
        time.sleep(_GLANCE_S)
        container.reload()


def is_ready(container: Any, service: Service) -> bool:
    """Return whether the service's health check now succeeds in its container."""
    from docker.errors import APIError

    test = service.healthcheck.test[1:]  # the first word, CMD, means without a shell
    with translated("run a health check"):
        try:
            return bool(container.exec_run(test).exit_code == 0)
        except APIError:  # it stopped a moment ago
            return False
