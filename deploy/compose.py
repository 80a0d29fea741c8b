"""Read the compose files beside this module, in the subset of the format that they use.

The format is the compose specification (https://github.com/compose-spec/compose-spec); an
unsupported key is rejected, so that no line of a file is ignored.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Mapping
from contextlib import suppress
from graphlib import TopologicalSorter
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError

from ..schemas.errors import DeployError

FOLDER = Path(__file__).parent
"""Folder of the compose files."""

_VARIABLE = re.compile(r"\$\{(?P<name>\w+)(?::(?P<kind>[-?])(?P<text>[^}]*))?\}")

_LAST_PORT = 65535
"""The highest port of TCP."""


def _seconds(text: str) -> str:
    if not re.fullmatch(r"\d+s", text):
        raise ValueError("only whole seconds are supported, such as 5s")
    return text


def _port(text: str) -> str:
    ports = re.fullmatch(r"127\.0\.0\.1:(\d+):(\d+)", text)
    if not ports or not all(0 < int(port) <= _LAST_PORT for port in ports.groups()):
        raise ValueError(f"{text!r} is no port of this machine such as 127.0.0.1:8000:3000")
    return text


def _size(text: str) -> str:
    if not re.fullmatch(r"[1-9]\d*[kmg]b?", text, re.IGNORECASE):
        raise ValueError(f"{text!r} is no size such as 8g or 512m")
    return text


def _mount(text: str) -> str:
    if not re.fullmatch(r"[^:]+:/[^:]*(:ro)?", text):
        raise ValueError("only SOURCE:/TARGET and SOURCE:/TARGET:ro are supported")
    return text


Seconds = Annotated[str, AfterValidator(_seconds)]
Port = Annotated[str, AfterValidator(_port)]
Size = Annotated[str, AfterValidator(_size)]
Volume = Annotated[str, AfterValidator(_mount)]


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class Healthcheck(_Part):
    """A command that succeeds in a ready container, and its timing."""

    test: list[str] = Field(min_length=2)
    interval: Seconds
    retries: int
    start_period: Seconds = "0s"

    @property
    def interval_s(self) -> int:
        """Seconds between two attempts."""
        return int(self.interval[:-1])

    @property
    def start_period_s(self) -> int:
        """Seconds in which failed attempts do not count."""
        return int(self.start_period[:-1])

    @property
    def patience_s(self) -> int:
        """Seconds after which a container that is not ready has failed."""
        return self.start_period_s + self.interval_s * self.retries


class Limits(_Part):
    """The most a container may use; `memory` in Docker's notation, such as ``8g``."""

    memory: Size


class Device(_Part):
    """A device reserved for a container."""

    driver: str
    device_ids: list[str]
    capabilities: list[str]


class Reservations(_Part):
    """Resources reserved for a container."""

    devices: list[Device]


class Resources(_Part):
    """Limits and reservations of a container."""

    limits: Limits
    reservations: Reservations | None = None


class Deploy(_Part):
    """The resources of a container, as the format nests them."""

    resources: Resources


class Logging(_Part):
    """Driver and size limit of a container's log."""

    driver: str
    options: dict[str, str]


class Dependency(_Part):
    """The required state of another service."""

    condition: Literal["service_healthy"]


class Service(_Part):
    """A container to run."""

    image: str
    command: list[str] | None = None
    environment: dict[str, str]
    ports: list[Port] = []
    volumes: list[Volume] = []
    depends_on: dict[str, Dependency] = {}
    restart: Literal["unless-stopped"]
    security_opt: list[str]
    deploy: Deploy
    logging: Logging
    healthcheck: Healthcheck

    @property
    def published(self) -> dict[int, int]:
        """Ports of this machine by port of the container."""
        pairs = (port.split(":")[1:] for port in self.ports)
        return {int(inside): int(outside) for outside, inside in pairs}

    @property
    def digest(self) -> str:
        """Return the SHA-256 of this description: a different one means a different container."""
        return hashlib.sha256(self.model_dump_json().encode()).hexdigest()


class Project(_Part):
    """Services, each after those it depends on, and the volumes that outlive them."""

    name: str
    services: dict[str, Service]
    volumes: dict[str, dict[str, str]]


def read_project(variables: Mapping[str, str], *, gpu: bool = False, attu: bool = True) -> Project:
    """Read the services to run.

    Args:
        variables: Values of the ``${...}`` in the files.
        gpu: Whether to apply the override for a GPU.
        attu: Whether to include Attu.

    Raises:
        DeployError: A variable is missing or has an invalid value, or a file has an unsupported
            key.
    """
    names = ["compose.yaml", "compose.gpu.yaml"] if gpu else ["compose.yaml"]
    merged: dict[str, Any] = {}
    for name in names:
        merged = _merge(merged, yaml.safe_load((FOLDER / name).read_text(encoding="utf-8")))
    if not attu:
        del merged["services"]["attu"]
    return parse_project(merged, variables)


def parse_project(document: Mapping[str, Any], variables: Mapping[str, str]) -> Project:
    """Parse a compose document as a project.

    Raises:
        DeployError: As `read_project`.
    """
    try:
        project = Project.model_validate(_interpolate(document, variables))
    except ValidationError as error:
        first = error.errors(include_input=False)[0]
        where = ".".join(map(str, first["loc"]))
        why = first["msg"].removeprefix("Value error, ")
        to_correct = " or ".join(_variables_at(document, first["loc"])) or "it"
        raise DeployError(
            f"{where} of the compose files cannot be used ({why}); correct {to_correct}."
        ) from None  # the input may hold a secret
    order = TopologicalSorter({name: s.depends_on for name, s in project.services.items()})
    services = {name: project.services[name] for name in order.static_order()}
    return project.model_copy(update={"services": services})


def _merge(base: Any, override: Any) -> Any:
    """Merge `override` into `base`: mappings key by key; anything else is replaced."""
    if isinstance(base, dict) and isinstance(override, dict):
        return base | {key: _merge(base.get(key), value) for key, value in override.items()}
    if isinstance(base, list):
        raise DeployError("An override cannot change a list of compose.yaml; repeat no list in it.")
    return override


def _interpolate(value: Any, variables: Mapping[str, str]) -> Any:
    if isinstance(value, dict):
        return {key: _interpolate(item, variables) for key, item in value.items()}
    if isinstance(value, list):
        return [_interpolate(item, variables) for item in value]
    if not isinstance(value, str):
        return value
    if "$" in _VARIABLE.sub("", value):
        raise DeployError(f"{value!r} of the compose files is not supported; write ${{NAME}}.")
    return _VARIABLE.sub(lambda match: _variable(match, variables), value)


def _variables_at(document: Any, where: Iterable[int | str]) -> list[str]:
    """Return names of the variables in the text at a place of a document; none without text."""
    with suppress(LookupError, TypeError):
        for key in where:
            document = document[key]
    text = document if isinstance(document, str) else ""
    return [match["name"] for match in _VARIABLE.finditer(text)]


def _variable(match: re.Match[str], variables: Mapping[str, str]) -> str:
    name, kind, text = match["name"], match["kind"], match["text"]
    if found := variables.get(name):
        return found
    if kind == "-":
        return str(text)
    raise DeployError(f"{name} is not set; set it ({text or 'the compose files need it'}).")
