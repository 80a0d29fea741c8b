"""The two files that a deployment writes under vidsim's home: its secrets, and its address.

Both hold ``NAME=value`` lines and are readable by their owner alone.
"""

from __future__ import annotations

import hashlib
import io
import os
import secrets
from pathlib import Path

from dotenv import dotenv_values

from ..schemas.errors import DeployError
from ..schemas.settings import SETTINGS_FILE

SECRETS_FILE = "milvus.env"
"""Name under vidsim's home of the file that compose calls an env file."""

MILVUS_PASSWORD = "VIDSIM_MILVUS_PASSWORD"  # noqa: S105, the name of it
_SECRETS = (MILVUS_PASSWORD, "VIDSIM_MINIO_PASSWORD")

_MARK = "# 'vidsim up' wrote the next two lines, and 'vidsim down' removes them."

_BYTES = 24
"""Random bytes of a secret; as 48 hexadecimal digits it is below Milvus' limit of 72."""


def ensure_secrets(home: Path) -> dict[str, str]:
    """Return the passwords of the services, creating them at the first call.

    Raises:
        DeployError: The file lacks one, or cannot be read or written.
    """
    path = home / SECRETS_FILE
    if not path.exists():
        _write_private(path, [f"{name}={secrets.token_hex(_BYTES)}" for name in _SECRETS])
    return read_secrets(home)


def forget_secrets(home: Path) -> None:
    """Remove the passwords, once the volumes created with them are gone."""
    (home / SECRETS_FILE).unlink(missing_ok=True)


def read_secrets(home: Path) -> dict[str, str]:
    """Read the passwords of the services.

    Raises:
        DeployError: The file is missing, lacks one, or cannot be read.
    """
    path = home / SECRETS_FILE
    found = _values(path)
    if missing := [name for name in _SECRETS if name not in found]:
        raise DeployError(
            f"{path} lacks {' and '.join(missing)}; restore it, or start anew with "
            "'vidsim down --volumes' and 'vidsim up'."
        )
    return found


def secrets_digest(found: dict[str, str]) -> str:
    """Return a SHA-256 that compares secrets without revealing them."""
    return hashlib.sha256("\n".join(found[name] for name in _SECRETS).encode()).hexdigest()


def placeholders() -> dict[str, str]:
    """Return placeholders for the secrets where nothing is started."""
    return dict.fromkeys(_SECRETS, "unknown")


def write_connection(home: Path, uri: str, password: str) -> None:
    """Make later commands use the Milvus at `uri`, unless the environment names another.

    Raises:
        DeployError: The settings file cannot be read or written.
    """
    path = home / SETTINGS_FILE
    connection = [_MARK, f"VIDSIM_URI={uri}", f"VIDSIM_TOKEN=root:{password}"]
    _write_private(path, _other_lines(path) + connection)


def forget_connection(home: Path) -> None:
    """Undo `write_connection`; a connection written by anything else stays.

    Raises:
        DeployError: The settings file cannot be read or written.
    """
    path = home / SETTINGS_FILE
    if _MARK not in _read(path).splitlines():
        return
    if kept := _other_lines(path):
        _write_private(path, kept)
    else:
        path.unlink()


def _other_lines(path: Path) -> list[str]:
    """Return the lines of a settings file that are not about the connection, with comments."""
    return [
        line
        for line in _read(path).splitlines()
        if not line.startswith(("VIDSIM_URI=", "VIDSIM_TOKEN=", _MARK))
    ]


def _values(path: Path) -> dict[str, str]:
    values = dotenv_values(stream=io.StringIO(_read(path)), interpolate=False)
    return {name: value for name, value in values.items() if value}


def _read(path: Path) -> str:
    """Read the text of a file; "" where there is none."""
    try:
        return path.read_text(encoding="utf-8")
    except FileNotFoundError:
        return ""
    except OSError as error:
        raise DeployError(f"{path} cannot be read ({error.strerror}); correct that.") from error


def _write_private(path: Path, lines: list[str]) -> None:
    """Write a file that only its owner may read, atomically."""
    partial = path.with_suffix(".partial")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        partial.unlink(missing_ok=True)
        with open(os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
            file.writelines(f"{line}\n" for line in lines)
        partial.replace(path)
    except OSError as error:
        raise DeployError(
            f"{path} cannot be written ({error.strerror}); set VIDSIM_HOME to a folder that can."
        ) from error
