"""Start, stop and watch the services of a compose project on a Docker engine.

This does what `docker compose` would do with the same files, as far as vidsim needs it, so that a
Docker engine suffices.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..schemas.errors import DeployError
from ..schemas.results import ServiceStatus
from .compose import Project
from .containers import (
    PROJECT_LABEL,
    Tell,
    ensure_container,
    find_container,
    find_containers,
    is_ready,
    label,
    published_port,
    remove,
    wait_until_ready,
)
from .engine import open_engine, translated

_HOME_LABEL = "vidsim.home"
_SECRETS_LABEL = "vidsim.secrets"


@dataclass(frozen=True)
class Owner:
    """The owner of volumes: a home, and a digest of its secrets."""

    home: Path
    secrets_digest: str


def up(project: Project, owner: Owner, tell: Tell) -> None:
    """Start the services that are not running, each once its dependencies are ready.

    A repeated call applies only changes of the compose files; an interrupted call resumes.

    Args:
        project: The project to run.
        owner: The owner of its volumes.
        tell: Receives progress messages.

    Raises:
        DeployError: The engine, an image, a port or a service is unavailable or fails.
    """
    with open_engine() as client:
        _ensure_volumes(client, project, owner)
        _ensure_network(client, project)
        for name, service in project.services.items():
            container = ensure_container(client, project, name, service, tell)
            wait_until_ready(container, name, service, tell)


def down(project: Project, *, volumes: bool, tell: Tell) -> bool:
    """Stop and remove containers and network, and optionally the volumes.

    Args:
        project: The project that may be running.
        volumes: Whether to remove Milvus' data too.
        tell: Receives progress messages.

    Returns:
        Whether there was a container.

    Raises:
        DeployError: The engine cannot be reached, or refuses.
    """
    with open_engine() as client:
        containers = find_containers(client, project)
        for container in reversed(containers):
            tell(f"Stopping {container.name} ...")
            remove(container)
        with translated("remove the network"):
            for network in client.networks.list(filters={"label": label(project)}):
                network.remove()
        for name in project.volumes if volumes else ():
            if volume := _volume(client, project, name):
                tell(f"Removing the volume {volume.name} ...")
                with translated(f"remove the volume {volume.name}"):
                    volume.remove()
    return bool(containers)


def status(project: Project) -> list[ServiceStatus]:
    """Return the state of the services.

    Raises:
        DeployError: The engine cannot be reached.
    """
    with open_engine() as client:
        services = []
        for name, service in project.services.items():
            container = find_container(client, project, name)
            state = container.status if container else "absent"
            port = published_port(container) if container else None
            services.append(
                ServiceStatus(
                    service=name,
                    state=state,
                    ready=state == "running" and is_ready(container, service),
                    image=container.attrs["Config"]["Image"] if container else service.image,
                    address=f"http://127.0.0.1:{port}" if port else None,
                )
            )
    return services


def logs(project: Project, name: str, *, tail: int, follow: bool) -> Iterator[str]:
    """Yield the last lines of a service's log, and optionally new ones as they come.

    Raises:
        DeployError: The service or its container does not exist, or the engine is unreachable.
    """
    if name not in project.services:
        known = ", ".join(project.services)
        raise DeployError(f"No service is called {name!r}; choose from {known}.")
    with open_engine() as client:
        container = find_container(client, project, name)
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


def _volume(client: Any, project: Project, name: str) -> Any | None:
    with translated("list volumes"):
        found = client.volumes.list(filters={"name": f"{project.name}_{name}"})
    return next((v for v in found if v.name == f"{project.name}_{name}"), None)


def _ensure_volumes(client: Any, project: Project, owner: Owner) -> None:
    labels = {
        PROJECT_LABEL: project.name,
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
        if not client.networks.list(filters={"label": label(project)}):
            labels = {PROJECT_LABEL: project.name}
            client.networks.create(project.name, driver="bridge", labels=labels)
