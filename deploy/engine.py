"""The Docker engine: the connection to it, and the meaning of its errors.

Any engine that serves Docker's API will do; podman's is what the tests use.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from ..schemas.errors import DeployError

_HERE = r"http\+docker://local|https?://(localhost|127\.|\[::1\])"
"""The docker package's URL of a socket, or a port, of this machine."""

_TIMEOUT_S = 120
"""Time limit of one answer of the engine, seconds; copying a large image is the slowest."""


@contextmanager
def open_engine() -> Iterator[Any]:
    """Connect to the engine that DOCKER_HOST names, or to this machine's, and close it afterwards.

    Yields:
        A ``docker.DockerClient``.

    Raises:
        DeployError: There is none, or this user may not use it, or it is on another machine.
    """
    import docker

    try:
        client = docker.from_env(timeout=_TIMEOUT_S)
    except docker.errors.DockerException as error:
        raise DeployError(_unreachable(error)) from error
    try:
        if not re.match(_HERE, client.api.base_url):
            raise DeployError(
                "DOCKER_HOST names another machine, whose ports are open to that machine alone; "
                "run 'vidsim up' there, or unset DOCKER_HOST."
            )
        yield client
    finally:
        client.close()


@contextmanager
def translated(what: str) -> Iterator[None]:
    """Turn the engine's errors during `what` into one sentence.

    Raises:
        DeployError: The engine refused, or did not answer.
    """
    import docker
    import requests

    try:
        yield
    except docker.errors.APIError as error:
        said = " ".join(str(error.explanation or error).split())
        raise DeployError(f"Docker could not {what} ({said}); {_next_step(said)}.") from error
    except (docker.errors.DockerException, requests.RequestException) as error:
        raise DeployError(
            f"Docker did not answer when asked to {what} ({type(error).__name__}); see that the "
            "engine runs, and run the same command again."
        ) from error


def _next_step(said: str) -> str:
    low = said.lower()
    if "device driver" in low or "nvidia" in low or "cdi" in low:
        return "install NVIDIA's Container Toolkit, or leave --gpu out"
    if "address already in use" in low or "port is already allocated" in low:
        return "stop what uses the port, or choose another with VIDSIM_MILVUS_PORT"
    if "no space left" in low:
        return "free some space, and run the same command again"
    return "correct that, and run the same command again"


def _unreachable(error: BaseException) -> str:
    """Advise on an unreachable engine; the reason is deep in the chain of causes."""
    chain: list[BaseException] = []
    at: BaseException | None = error
    while at is not None:
        chain.append(at)
        at = at.__cause__ or at.__context__
    if any(isinstance(cause, PermissionError) for cause in chain):
        return (
            "This user may not use the Docker engine; add the user to the group 'docker' and log "
            "in again, or name an engine of your own with DOCKER_HOST."
        )
    where = os.environ.get("DOCKER_HOST", "/var/run/docker.sock")
    return (
        f"No Docker engine answers at {where}; start it, install Docker or podman, or name one "
        "with DOCKER_HOST. Without one, vidsim uses the embedded Milvus."
    )
