"""Settings: what VIDSIM_* environment variables say."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import platformdirs
from pydantic import AfterValidator, Field, SecretStr, ValidationError
from pydantic_settings import BaseSettings, SettingsConfigDict

from .errors import SettingsError
from .video import SEGMENT_SECONDS

Folder = Annotated[Path, AfterValidator(lambda path: path.expanduser().absolute())]


class Settings(BaseSettings):
    """Every setting; docs/settings.md lists them for people."""

    model_config = SettingsConfigDict(env_prefix="VIDSIM_", frozen=True, env_ignore_empty=True)

    home: Folder = Field(
        default_factory=lambda: Path(platformdirs.user_data_dir("vidsim", appauthor=False)),
        description="where shards and the embedded Milvus are kept",
    )
    cache: Folder = Field(
        default_factory=lambda: Path(platformdirs.user_cache_dir("vidsim", appauthor=False)),
        description="where weights are kept",
    )
    uri: str | None = Field(None, description="a Milvus server; none for the embedded one")
    token: SecretStr | None = Field(None, description="for a Milvus server with access control")
    device: Literal["auto", "cpu", "cuda"] = Field("auto", description="where networks run")
    workers: int | None = Field(None, ge=1, description="decoder processes")
    segment_seconds: float = Field(
        SEGMENT_SECONDS, ge=1, description="length of the segments of a long video, in seconds"
    )


def settings() -> Settings:
    """The settings as the environment says now.

    Raises:
        SettingsError: A variable has a value that it cannot have.
    """
    try:
        return Settings()  # type: ignore[call-arg]  # defaults are in the fields
    except ValidationError as error:
        first = error.errors()[0]
        name = f"VIDSIM_{str(first['loc'][0]).upper()}"
        raise SettingsError(f"{name}={first['input']} is wrong: {first['msg']}.") from error
