"""A whole deployment: its services, its secrets, and vidsim's settings that refer to it."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from ..schemas.answer import Table
from ..schemas.errors import DeployError
from ..schemas.results import DeploymentStatus, ServiceStatus
from ..schemas.settings import settings
from ..schemas.status import ServerStatus, Status
from . import services
from .compose import Project, read_project
from .connection import (
    MILVUS_PASSWORD,
    SECRETS_FILE,
    ensure_secrets,
    forget_connection,
    forget_secrets,
    placeholders,
    secrets_digest,
    write_connection,
)
from .containers import Tell


def start(home: Path, *, gpu: bool, attu: bool, tell: Tell) -> DeploymentStatus:
    """Start Milvus, and make later commands use it.

    Raises:
        DeployError: It cannot be started, or the settings cannot be written.
    """
    secrets = ensure_secrets(home)
    project = read_project(os.environ | secrets, gpu=gpu, attu=attu)
    services.up(project, services.Owner(home, secrets_digest(secrets)), tell)
    found = services.status(project)
    uri = _uri(found)
    assert uri is not None  # Milvus has just answered
    write_connection(home, uri, secrets[MILVUS_PASSWORD])
    return DeploymentStatus(services=found, uri=uri, used=settings().uri == uri)


def stop(home: Path, *, volumes: bool, tell: Tell) -> bool:
    """Stop Milvus and remove it from the settings; `volumes` also removes its data.

    Returns:
        Whether there was something to stop.

    Raises:
        DeployError: It cannot be stopped, or the settings cannot be written.
    """
    stopped = services.down(_known_project(), volumes=volumes, tell=tell)
    forget_connection(home)
    if volumes:
        forget_secrets(home)
    return stopped


def look() -> DeploymentStatus:
    """Return the state of the services, and whether vidsim uses them.

    Raises:
        DeployError: The engine cannot be reached.
    """
    found = services.status(_known_project())
    uri = _uri(found)
    return DeploymentStatus(services=found, uri=uri, used=bool(uri) and settings().uri == uri)


def with_deployment(found: Status, home: Path) -> Status:
    """Add the services of ``vidsim up`` to a status, where it was run with this home.

    An engine that cannot be reached is a note.
    """
    if not (home / SECRETS_FILE).exists():
        return found
    try:
        deployment = look()
    except DeployError as error:
        return found.model_copy(update={"notes": [*found.notes, str(error)]})
    if found.server is None and all(s.state == "absent" for s in deployment.services):
        return found  # it was stopped
    server = found.server or ServerStatus(uri=None, answers=False, deployment=None)
    notes = list(found.notes)
    if deployment.uri is not None:
        uses = "uses" if deployment.used else "does not use"
        notes.append(f"vidsim {uses} {deployment.uri}.")
    if not any(s.ready for s in deployment.services if s.service == "milvus"):
        notes.append("The Milvus of 'vidsim up' is not ready; run 'vidsim up'.")
    server = server.model_copy(update={"deployment": deployment})
    return found.model_copy(update={"server": server, "notes": notes})


def read_log(name: str, *, tail: int, follow: bool) -> Iterator[str]:
    """Yield the lines of a service's log.

    Raises:
        DeployError: There is no such service, or no log of it.
    """
    return services.logs(_known_project(), name, tail=tail, follow=follow)


def status_table(found: DeploymentStatus) -> Table:
    """Tabulate a row per service."""
    rows = [
        (s.service, s.state, "yes" if s.ready else "no", s.address or "", s.image)
        for s in found.services
    ]
    return Table(("service", "state", "ready", "address", "image"), rows)


def _known_project() -> Project:
    """Return the project without secrets, for commands that start nothing."""
    return read_project(os.environ | placeholders())


def _uri(found: list[ServiceStatus]) -> str | None:
    return next(service.address for service in found if service.service == "milvus")
