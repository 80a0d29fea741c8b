"""Writes docs/cli.md: every command with its arguments and options, as the program has them.

Run it by ``make reference``; tests/test_reference.py holds that the page is up to date. It reads
the declarations themselves, not typer's help, whose form changes between its releases.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from types import UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin, get_type_hints

import typer
from typer.models import ArgumentInfo, OptionInfo

from vidsim.cli import app

PAGE = Path(__file__).resolve().parent / "cli.md"

HEAD = """# The command line

Every command, argument and option. `make reference` writes this page from the program, and
`vidsim COMMAND --help` says the same; `python -m vidsim` is the same program. Results go to
stdout, everything else to stderr. Settings from the environment: [settings.md](settings.md).

| exit code | what |
|---|---|
| 0 | It worked. An ingest of which some files failed did too: it lists them. |
| 1 | It failed; the sentence on stderr says why, and what to do. |
| 2 | It was called wrongly. |
| 3 | `vidsim ingest --strict`: some files failed, the others are stored. |
| 130 | Ctrl-C; the same command goes on from what was finished. An ingest finishes \
the files that are under way first; a second Ctrl-C stops now. |

`--json` prints scores and other figures with six significant digits, seconds with three decimals.
With `TERM=dumb` a terminal is sent plain text, without bars; `NO_COLOR` leaves out what is bold.

| option of `vidsim` itself | what |
|---|---|
"""

TYPERS_OWN = """| `--install-completion` | Install completion for bash, zsh, fish or PowerShell. |
| `--show-completion` | Print it instead. |
| `-h`, `--help` | Show the help; with any command. |
"""
"""Options that typer adds."""


def page() -> str:
    """The page as the program is today."""
    callback = app.registered_callback
    assert callback
    assert callback.callback
    own = [_option(p, with_default=False) for p in _parameters(callback.callback)]
    commands = [*_commands(app, "vidsim")]
    listed = [f"- [`{name}`](#{_anchor(name)}): {_summary(c)}" for name, c in commands]
    head = HEAD + "".join(f"{row}\n" for row in own) + TYPERS_OWN
    return "\n".join([head, *listed, "", *(_section(name, c) for name, c in commands)])


def _commands(group: typer.Typer, path: str) -> Iterator[tuple[str, Callable[..., Any]]]:
    """Names and functions of a group's commands, in the order of its help."""
    for command in group.registered_commands:
        assert command.callback
        name = command.name or command.callback.__name__.rstrip("_").replace("_", "-")
        yield f"{path} {name}", command.callback
    for found in group.registered_groups:
        assert found.typer_instance
        assert found.name
        yield from _commands(found.typer_instance, f"{path} {found.name}")


def _section(name: str, command: Callable[..., Any]) -> str:
    parameters = [*_parameters(command)]
    arguments = [p for p in parameters if isinstance(p.info, ArgumentInfo)]
    options = [p for p in parameters if isinstance(p.info, OptionInfo)]
    words = [name, *(["[OPTIONS]"] if options else []), *map(_placeholder, arguments)]
    lines = [f"## {name}", "", f"    {' '.join(words)}", "", inspect.getdoc(command) or "", ""]
    if arguments:
        lines += ["| argument | what | default |", "|---|---|---|", *map(_option, arguments), ""]
    if options:
        lines += ["| option | what | default |", "|---|---|---|", *map(_option, options), ""]
    return "\n".join(lines)


@dataclass(frozen=True)
class _Parameter:
    """An argument or an option of a command, as its function declares it.

    Attributes:
        name: Of the function's parameter.
        kind: What a value is; of an optional one, without None.
        info: What typer is told of it.
        required: Whether it must be given.
        default: What it is otherwise.
    """

    name: str
    kind: Any
    info: ArgumentInfo | OptionInfo
    required: bool
    default: object


def _parameters(command: Callable[..., Any]) -> Iterator[_Parameter]:
    hints = get_type_hints(command, include_extras=True)
    for name, declared in inspect.signature(command).parameters.items():
        kind, *marks = get_args(hints[name]) if _is(hints[name], Annotated) else (hints[name],)
        if _is(kind, Union, UnionType):
            kind = next(k for k in get_args(kind) if k is not type(None))
        info = next((m for m in marks if isinstance(m, ArgumentInfo | OptionInfo)), None)
        required = declared.default is inspect.Parameter.empty
        if kind is not typer.Context:
            yield _Parameter(name, kind, info or typer.Option(), required, declared.default)


def _is(hint: object, *origins: object) -> bool:
    return get_origin(hint) in origins


def _placeholder(p: _Parameter) -> str:
    """What stands for an argument in the usage line."""
    word = p.info.metavar or p.name.upper()
    word += "..." if get_origin(p.kind) is list else ""
    return word if p.required else f"[{word}]"


def _option(p: _Parameter, with_default: bool = True) -> str:
    """The row of the table."""
    info = p.info
    if isinstance(info, ArgumentInfo):
        names = f"`{_placeholder(p)}`"
    else:
        *short, long = sorted(_names(p), key=len)
        names = ", ".join([*(f"`{n}`" for n in short), f"`{long}{_value(p)}`"])
    help_text = (info.help or "").strip()
    words = re.search(r"\s*\[default: ([^\]]+)\]", help_text)
    help_text = help_text.replace(words[0], "") if words else help_text
    default = words[1] if words else _default(p)
    bounds = _bounds(info)
    cells = [names, f"{help_text}{bounds}", *([default] if with_default else [])]
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


def _names(p: _Parameter) -> list[str]:
    """An option's names; typer keeps the first of an annotation as the default."""
    said = [n for n in (p.info.default, *(p.info.param_decls or ())) if isinstance(n, str)]
    return [n for n in said if n.startswith("-")] or [f"--{p.name.replace('_', '-')}"]


def _value(p: _Parameter) -> str:
    if p.kind is bool:
        return ""
    if get_origin(p.kind) is Literal:
        return f" {'|'.join(get_args(p.kind))}"
    return f" {p.info.metavar or _NOUNS[p.kind]}"


_NOUNS = {int: "N", float: "N", str: "TEXT", Path: "PATH"}
"""What stands for a value that has no word of its own."""


def _default(p: _Parameter) -> str:
    if p.required:
        return "required"
    if p.default is None or p.default is False or p.default == "":
        return ""
    return f"{p.default:g}" if isinstance(p.default, int | float) else str(p.default)


def _bounds(info: ArgumentInfo | OptionInfo) -> str:
    low, high = info.min, info.max
    if low is not None and high is not None:
        return f" From {low:g} to {high:g}."
    return f" At least {low:g}." if low is not None else ""


def _summary(command: Callable[..., Any]) -> str:
    return (inspect.getdoc(command) or "").partition("\n")[0]


def _anchor(name: str) -> str:
    return name.replace(" ", "-")


if __name__ == "__main__":
    PAGE.write_text(page())
    print(f"Wrote docs/{PAGE.name}.")
