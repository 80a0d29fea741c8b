"""Small things that people and programs write: options, lists, tables, settings, a home's JSON."""

from __future__ import annotations

import hashlib
import json
import os
import random
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any
from unittest import mock

from vidsim.ingest.exchange.audioset import read_class_names
from vidsim.ingest.models.registry import adopt, known_backbones
from vidsim.ingest.shards.manifest import read_manifest
from vidsim.ingest.sync.failed_files import read_failures
from vidsim.ingest.sync.labels import read_labels
from vidsim.ingest.system.checked_json import ChangedError, read_checked
from vidsim.schemas.backbones import BACKBONES
from vidsim.schemas.modality import parse_modalities
from vidsim.schemas.part import parse_part
from vidsim.schemas.presets import PRESETS, choose_backbones
from vidsim.schemas.settings import settings
from vidsim.search.evaluation.color_metrics import parse_color_metrics
from vidsim.search.evaluation.comparisons import parse_comparison
from vidsim.search.evaluation.evaluate import parse_protocols
from vidsim.search.evaluation.split_lists import Names, read_split
from vidsim.search.fusion import parse_weights
from vidsim.search.tuned import read_tuned

from ..full_home import TIMM
from .mutations import encoded, json_of, mutated_text, mutated_value
from .targets import Feed, Outcome

_IDS = ("lib/snow/a.avi", "lib/snow/b 1.avi", "lib/work/a.avi", "lib/é/v_Yo-Yo_g01_c01.avi")

_WORDS = (*_IDS, "video_id", "label", ",", ";", "\t", "1", '"', "#", "=", "VIDSIM_", "index", "mid")


@dataclass(frozen=True)
class _Reader:
    """A reader of texts, the texts that it takes, and the error that it documents."""

    read: Callable[[str], object]
    texts: Sequence[str]
    refuses: type[Exception] = ChangedError


@dataclass(frozen=True)
class _Json:
    """A reader of a JSON file, with what it takes."""

    read: Callable[[], object]
    path: Path
    content: Any
    checked: bool = True


@contextmanager
def started(folder: Path) -> Iterator[Feed]:
    """Feeds options as texts, lists as files in some encoding, and JSON spoiled as a value."""
    home = folder / "home"
    names = Names(_IDS)
    file = folder / "file"

    def settings_file(_: Path) -> object:
        with suppress(OSError):
            (home / "settings.env").unlink()
        os.replace(file, home / "settings.env")
        return settings(home)

    home.mkdir(parents=True)
    lists: dict[Callable[[Path], object], Sequence[str]] = {
        read_labels: ("video_id,label\nlib/a.avi,snow\n", 'lib/a.avi,"a, ""b"""\nlib/b.avi,\n'),
        partial(read_split, names=names, ids=_IDS): (
            "snow/a.avi 1\nwork/a.avi 2\n",
            "name\n'snow\\b 1.avi';3;4\n# note\nv_Yo-Yo_g01_c01\t-1 2.5\n",
        ),
        read_class_names: (
            'index,mid,display_name\n0,/m/09x0r,"Speech"\n5,/m/0x,"a, b"\n',
            "INDEX;display_name\n1;x\n",
        ),
        settings_file: (
            "VIDSIM_SEGMENT_SECONDS=10\nVIDSIM_WORKERS=2\n",
            'export VIDSIM_DEVICE="cpu"\nVIDSIM_PLAYER="a {file} ${X:-y}"\nVIDSIM_CODECS=-h264\n',
        ),
    }
    options = [
        _Reader(lambda t: parse_part(t, None, None), ("3:20", "1:02:03.5", "78.5", ".5")),
        _Reader(lambda t: parse_part(None, t, None), ("3:20", "1:02:03", "5.")),
        _Reader(lambda t: parse_part(region=t), ("320,0,320,240", "0.5,0,0.5,1")),
        _Reader(lambda t: parse_weights(t, "calibrated"), ("frame=2,color=0.5", "default")),
        _Reader(parse_modalities, ("color,frame", "all", "audio")),
        _Reader(parse_comparison, ("resnet50,i3d", "frame=resnet50,audio=vggish")),
        _Reader(parse_color_metrics, ("cosine,l2", "chi2")),
        _Reader(lambda t: parse_protocols(t.split(",")), ("split", "loo,split")),
        _Reader(lambda t: adopt(t, BACKBONES), (_describe(),), ValueError),
        _Reader(
            lambda t: choose_backbones(parse_modalities("frame"), overrides=t.split(",")),
            ("frame=resnet50", "frame=timm:resnet18,audio=vggish"),
        ),
    ]
    note = {"bytes": 1, "sha256": "0" * 64, "videos": 2, "backbones": ["labhist"], "head": "1"}
    video = {"video_id": "lib/a", "library": "lib", "path": "/a", "label": "", "fingerprint": "f"}
    failure = {"video": video | {"size": 1, "mtime_ns": 2}, "reason": "x", "tried_with": "y"}
    manifest = {"library": "lib", "revision": 3, "shards": {"a.h5": note, "b.h5.next": note}}
    chosen = {BACKBONES[name].modality: BACKBONES[name] for name in PRESETS["compact"].values()}
    tuned = {
        "weights": {"color": 0.5, "frame": 1.0},
        "backbones": {m.value: b.name for m, b in chosen.items()},
        "protocol": "split",
        "training_videos": 3,
        "gain": 0.1,
    }
    shards = home / "shards" / "lib"
    jsons = [
        _Json(lambda: read_manifest(shards), shards / "manifest.json", manifest),
        _Json(lambda: read_failures(home, "lib"), home / "failed/lib.json", {"lib/a": failure}),
        _Json(lambda: read_tuned(home, chosen), home / "fusion-weights.json", tuned),
        _Json(
            lambda: known_backbones(home),
            home / "backbones" / f"{TIMM.name}.json",
            json.loads(_describe()),
        ),
        _Json(lambda: read_checked(file), file, [1, "a", {"b": None}]),
    ]

    def feed(chance: random.Random) -> Outcome:
        match chance.randrange(3):
            case 0:
                return _option(chance, chance.choice(options))
            case 1:
                read = chance.choice([*lists])
                text = mutated_text(chance, chance.choice(lists[read]), _WORDS)
                text = text[:2000] if read is settings_file else text
                file.write_bytes(encoded(chance, text))
                read(file)
                return Outcome.ACCEPTED
            case _:
                return _json(chance, chance.choice(jsons))

    with mock.patch.dict(os.environ, {"VIDSIM_HOME": str(home)}):
        yield feed


def _describe() -> str:
    from vidsim.ingest.models.registry import description_of

    described = description_of(TIMM)
    assert described
    return described


def _option(chance: random.Random, reader: _Reader) -> Outcome:
    text = chance.choice(reader.texts)
    if text.startswith("{") and chance.random() < 0.7:
        text = json_of(chance, mutated_value(chance, json.loads(text))).decode(errors="replace")
    else:
        text = mutated_text(chance, text, ())
    try:
        reader.read(text)
    except reader.refuses:
        return Outcome.REFUSED
    return Outcome.ACCEPTED


def _json(chance: random.Random, reader: _Json) -> Outcome:
    """Spoils the content and gives it a checksum that fits, or spoils all."""
    content = mutated_value(chance, reader.content)
    if reader.checked and chance.random() < 0.7:
        digest = hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()
        content = {"content": content, "sha256": digest}
    reader.path.parent.mkdir(parents=True, exist_ok=True)
    reader.path.write_bytes(json_of(chance, content))
    try:
        reader.read()
    except ChangedError:
        return Outcome.REFUSED
    finally:
        reader.path.unlink()
    return Outcome.ACCEPTED
