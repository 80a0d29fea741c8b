"""Settings from VIDSIM_* environment variables and the settings file under the home."""

from __future__ import annotations

import logging
import os
import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Annotated, Any, Literal

import platformdirs
from dotenv import dotenv_values
from pydantic import AfterValidator, Field, SecretStr, ValidationError
from pydantic_settings import BaseSettings, SettingsConfigDict

from .collections import IndexPolicy
from .errors import SettingsError
from .video import SEGMENT_SECONDS

_log = logging.getLogger(__name__)

_PREFIX = "VIDSIM_"

SETTINGS_FILE = "settings.env"
"""Name of a file under the home with the environment's names; the environment takes precedence."""

NOT_IN_FILE = frozenset({"VIDSIM_HOME", "VIDSIM_LOG"})
"""Settings that the environment alone gives."""

DEPLOYMENT_VARIABLES = frozenset(
    f"{_PREFIX}{name}"
    for name in (
        "ATTU_PORT",
        "GPU",
        "GPU_POOL_MAX_MB",
        "GPU_POOL_MB",
        "MILVUS_MEMORY",
        "MILVUS_PASSWORD",
        "MILVUS_PORT",
        "MINIO_PASSWORD",
    )
)
"""What the compose files under deploy/ read from the environment."""

_CODEC = re.compile(r"[+-]\w+", re.ASCII)

_OTHERS = ("VIDSIM_CI", "VIDSIM_TEST_")
"""Beginnings of names that tests and continuous integration use."""


def _expand(path: Path) -> Path:
    try:
        return path.expanduser().absolute()
    except RuntimeError as error:  # "~nobody": pydantic passes on a ValueError only
        raise ValueError("its '~' stands for nobody's home folder") from error


def _codecs(text: str) -> str:
    words = text.replace(",", " ").split()
    if wrong := next((word for word in words if not _CODEC.fullmatch(word)), None):
        raise ValueError(f"'{wrong}' is no '+' or '-' with the name of a codec")
    return ",".join(words)


AbsolutePath = Annotated[Path, AfterValidator(_expand)]
"""Path of a folder or a file; a relative one is made absolute."""


class Settings(BaseSettings):
    """Every setting; docs/settings.md lists them for people."""

    model_config = SettingsConfigDict(
        env_prefix=_PREFIX, frozen=True, env_ignore_empty=True, allow_inf_nan=False, extra="ignore"
    )

    home: AbsolutePath = Field(
        default_factory=lambda: Path(platformdirs.user_data_dir("vidsim", appauthor=False)),
        description="where shards and the embedded Milvus are kept",
    )
    cache: AbsolutePath = Field(
        default_factory=lambda: Path(platformdirs.user_cache_dir("vidsim", appauthor=False)),
        description="where weights are kept",
    )
    uri: str | None = Field(default=None, description="a Milvus server; none for the embedded one")
    token: SecretStr | None = Field(
        default=None, description="for a Milvus server with access control"
    )
    ca_cert: AbsolutePath | None = Field(
        default=None, description="certificates of the authorities to trust, for an https:// URI"
    )
    client_cert: AbsolutePath | None = Field(
        default=None, description="this client's certificate, where a server asks for one"
    )
    client_key: AbsolutePath | None = Field(default=None, description="its private key")
    index: IndexPolicy = Field(default="auto", description="indexes on a GPU server, or not")
    device: Literal["auto", "cpu", "cuda"] = Field(default="auto", description="where networks run")
    cpu_path: Literal["auto", "float32"] = Field(
        default="auto", description="what networks on a CPU compute in"
    )
    sound_engine: Literal["auto", "tensorflow"] = Field(
        default="auto", description="what computes YAMNet"
    )
    workers: int | None = Field(default=None, ge=1, description="decoder processes")
    nvdec: bool = Field(
        default=False, description="whether an NVIDIA GPU decodes large videos of an ingest"
    )
    codecs: Annotated[str, AfterValidator(_codecs)] = Field(
        default="", description="codecs that are decoded too, and that are not"
    )
    player: str | None = Field(
        default=None,
        description="command of 'vidsim open', with {file} and {seconds}; none for what is there",
    )
    serve_token: SecretStr | None = Field(
        default=None, description="what clients of 'vidsim serve' must send"
    )
    segment_seconds: float = Field(
        default=SEGMENT_SECONDS,
        ge=1,
        description="length of the segments of a long video, in seconds",
    )


def settings(home: Path | None = None) -> Settings:
    """Read the settings from the current environment, then the settings file, then the defaults.

    Names that are no settings are logged, once in a process each.

    Args:
        home: vidsim's home, overriding the environment; None for the environment's.

    Raises:
        SettingsError: A setting has an invalid value, or the file cannot be read.
    """
    file: Path | None = None
    try:
        found = Settings() if home is None else Settings(home=home)
        _warn(unknown_in_environment(os.environ))
        file = found.home / SETTINGS_FILE
        if not file.exists():
            return found
        with _unread_lines() as unread:
            unknown = _unknown_in_file(file)
            fixed: dict[str, Any] = {"_env_file": file, "home": found.home}
            if found.uri:  # the file's token is for the file's server alone
                fixed |= {"uri": found.uri, "token": found.token}
            read = Settings(**fixed)
        if unread:
            more = f" and {len(unread) - 1} more" if len(unread) > 1 else ""
            _warn([f"Line {min(unread)}{more} of {file} is no NAME=value; correct that."])
        _warn(unknown)
        return read
    except OSError as error:
        raise SettingsError(f"{file} cannot be read ({error.strerror}); correct that.") from error
    except UnicodeDecodeError as error:
        raise SettingsError(f"{file} is no text in UTF-8 ({error}); write it anew.") from error
    except ValidationError as error:
        first = error.errors()[0]
        name = f"{_PREFIX}{str(first['loc'][0]).upper()}"
        where = "" if os.environ.get(name) else f" in {file}"
        why = first["msg"].removeprefix("Value error, ").rstrip(".")
        why = why[:1].lower() + why[1:]
        raise SettingsError(
            f"{name}={first['input']}{where} cannot be used ({why}); correct it or unset it."
        ) from error


@contextmanager
def _unread_lines() -> Iterator[set[int]]:
    """Collect the lines that python-dotenv cannot read, of which it would warn at each reading."""
    lines: set[int] = set()

    def note(record: logging.LogRecord) -> bool:
        numbers = [of for of in record.args or () if isinstance(of, int)]
        lines.update(numbers)
        return not numbers

    log = logging.getLogger("dotenv.main")
    log.addFilter(note)
    try:
        yield lines
    finally:
        log.removeFilter(note)


def unknown_in_environment(names: Iterable[str]) -> list[str]:
    """Return a sentence for each VIDSIM_* variable among `names` that nothing reads."""
    known = _names() | NOT_IN_FILE | DEPLOYMENT_VARIABLES
    return [
        _unknown(name, "", known)
        for name in sorted(names)
        if name.upper().startswith(_PREFIX)
        and name.upper() not in known
        and not name.upper().startswith(_OTHERS)
    ]


def _unknown_in_file(file: Path) -> list[str]:
    """Return a sentence for each name in a settings file that has no effect there."""
    known = _names() - NOT_IN_FILE
    elsewhere = NOT_IN_FILE | DEPLOYMENT_VARIABLES
    found = [n for n in dotenv_values(file, interpolate=False) if n.upper() not in known]
    return [
        f"{name} in {file} has no effect; set it in the environment."
        if name.upper() in elsewhere
        else _unknown(name, f" in {file}", known)
        for name in found
    ]


def _unknown(name: str, where: str, known: Iterable[str]) -> str:
    import difflib  # only where something is wrong

    known_words = [known_name.removeprefix(_PREFIX) for known_name in known]
    near = difflib.get_close_matches(name.upper().removeprefix(_PREFIX), known_words, n=1)
    next_step = f"did you mean {_PREFIX}{near[0]}?" if near else "docs/settings.md lists them."
    return f"{name}{where} is not a setting; {next_step}"


def _names() -> frozenset[str]:
    return frozenset(f"{_PREFIX}{field.upper()}" for field in Settings.model_fields)


def _warn(sentences: Iterable[str]) -> None:
    for sentence in sentences:
        _warn_once(sentence)


@cache
def _warn_once(sentence: str) -> None:
    _log.warning("%s", sentence)
