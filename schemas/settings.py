"""Settings from VIDSIM_* environment variables and the settings file under the home."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated, Any, Literal

import platformdirs
from pydantic import AfterValidator, Field, SecretStr, ValidationError
from pydantic_settings import BaseSettings, SettingsConfigDict

from .collections import IndexPolicy
from .errors import SettingsError
from .video import SEGMENT_SECONDS

_PREFIX = "VIDSIM_"

SETTINGS_FILE = "settings.env"
"""Name of a file under the home with the environment's names; the environment takes precedence."""


def _expand(path: Path) -> Path:
    try:
        return path.expanduser().absolute()
    except RuntimeError as error:  # "~nobody": pydantic passes on a ValueError only
        raise ValueError("its '~' stands for nobody's home folder") from error


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
    workers: int | None = Field(default=None, ge=1, description="decoder processes")
    nvdec: bool = Field(
        default=False, description="whether an NVIDIA GPU decodes large videos of an ingest"
    )
    segment_seconds: float = Field(
        default=SEGMENT_SECONDS,
        ge=1,
        description="length of the segments of a long video, in seconds",
    )


def settings(home: Path | None = None) -> Settings:
    """Read the settings from the current environment, then the settings file, then the defaults.

    Args:
        home: vidsim's home, overriding the environment; None for the environment's.

    Raises:
        SettingsError: A setting has an invalid value, or the file cannot be read.
    """
    file: Path | None = None
    try:
        found = Settings() if home is None else Settings(home=home)
        file = found.home / SETTINGS_FILE
        if not file.exists():
            return found
        fixed: dict[str, Any] = {"_env_file": file, "home": found.home}
        if found.uri:  # the file's token is for the file's server alone
            fixed |= {"uri": found.uri, "token": found.token}
        return Settings(**fixed)
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
