"""The genuine commands on a home of many videos, killed at random moments.

``python -m vidsim.tests.helpers.command_kills N SEED --home-of 1000`` kills so many times; with
``--server`` the home's Milvus is a genuine server, for which ``make`` has to give namespaces:
``make server-kills KILLS=N SEED=S``. Ctrl-C prints what was found so far.

Each step is first done in another home that nothing disturbs. After each kill every video is as it
is there before or after the step, what was exported is whole, nothing is said to be damaged, and no
process is left. Once the step has ended well all is as there.
"""

from __future__ import annotations

import argparse
import math
import random
import shutil
import signal
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import Any

import httpx2

from .answers import Answer, judge_among
from .command_line import environment
from .kill_rounds import STEPS, Round, Step, exported
from .large_home import ASKED, asked, fill, write_export, write_files
from .spawned import Running, Spawner
from .web import Server, until

_PER_STEP = 10
"""Most kills of one command, as it is repeated."""

_ALL = list(range(ASKED))

_SOON = 0.85
"""Part of a command's time after which it is killed at the latest: repeated it has less to do."""

_LIMIT_S = 600.0

_FEW_THREADS = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}


@dataclass
class Outcome:
    """What came of it.

    Attributes:
        kills: By name of the step.
        done: How often each ended well.
        answers: What queries after kills came to.
        wrong: What was wrong, a line each.
        began: When, by `time.monotonic`.
    """

    kills: Counter[str] = field(default_factory=Counter)
    done: Counter[str] = field(default_factory=Counter)
    answers: Counter[str] = field(default_factory=Counter)
    wrong: list[str] = field(default_factory=list)
    began: float = field(default_factory=time.monotonic)

    def __str__(self) -> str:
        seconds = time.monotonic() - self.began
        lines = ["| command | kills | ended well |", "|---|---|---|"]
        lines += [f"| {name} | {self.kills[name]} | {self.done[name]} |" for name in STEPS]
        told = ", ".join(f"{number} {verdict}" for verdict, number in self.answers.items())
        lines.append(f"\n{self.kills.total()} kills in {seconds:.0f} s; answers after them: {told}")
        return "\n".join([*lines, f"{len(self.wrong)} wrong", *self.wrong])


class _Served(Server):
    """A server that a `Spawner` starts; what `Server` reads of a home works for it."""

    def __init__(self, home: Path, running: Running) -> None:
        self.home = home
        self.running = running
        until(self._answers, 60)

    def _answers(self) -> bool:
        try:
            with self.inside() as inside:
                return bool(inside.get("/healthz").status_code == 200)
        except (httpx2.HTTPError, OSError):
            return False


class CommandKills:
    """Two homes of many videos, one of which is killed."""

    def __init__(self, work: Path, videos: int, seed: int, uri: str = "") -> None:
        """Makes both under `work`; `uri` is the killed home's Milvus server, if it has one."""
        self._work = work.resolve()
        self._videos = videos
        self._chance = random.Random(seed)
        self.outcome = Outcome()
        self._homes = [self._work / "intact", self._work / "killed"]
        on_server = {"VIDSIM_URI": uri, "VIDSIM_INDEX": "cpu"} if uri else {}
        self._environments = {
            home: environment(home, **_FEW_THREADS, **more)
            for home, more in zip(self._homes, ({}, on_server))
        }
        (scratch := self._work / "said").mkdir()
        self._spawner = Spawner("vidsim.tests.helpers.large_home:look", scratch)
        self._verifier = Spawner("vidsim.tests.helpers.large_home:verify", scratch)
        videos_work = self._work / "videos"
        at = Round(videos_work, videos, 0)
        write_files(at.folder, videos)
        write_export(videos_work)
        fill(self._homes[0], at.folder)
        shutil.copytree(self._homes[0], self._homes[1])
        if uri:
            code = self._start(["reindex"], self._homes[1]).wait(_LIMIT_S)
            assert code == 0, "the server was not filled"
        self._seen = self._look(self._homes[0])

    def run(self, kills: int) -> Iterator[str]:
        """Kills so many times; yields a line after each step."""
        per_step = min(_PER_STEP, math.ceil(kills / len(STEPS)))
        for number in count():
            at = Round(self._work / "videos", self._videos, number)
            for name, step in STEPS.items():
                if self.outcome.kills.total() >= kills:
                    return
                left = kills - self.outcome.kills.total()
                self._step(name, step, at, min(per_step, left))
                yield (
                    f"{self.outcome.kills.total()} kills, {len(self.outcome.wrong)} wrong; "
                    f"{name} of round {number} done after "
                    f"{time.monotonic() - self.outcome.began:.0f} s"
                )

    def _step(self, name: str, step: Step, at: Round, kills: int) -> None:
        intact, killed = self._homes
        step.change(at, self._homes)
        began = time.monotonic()
        running = self._start(step.words(at), intact)
        assert running.wait(_LIMIT_S) == 0, (name, running.said)
        needs_s = time.monotonic() - began
        before, self._seen = self._seen, self._look(intact)
        shutil.rmtree(exported(at.work), ignore_errors=True)
        named = f"{name} of round {at.number}"
        if step.served:
            self._serve(name, at, kills, needs_s, [before, self._seen])
        else:
            self._command(name, step, at, kills, needs_s, [before, self._seen])
        found = self._look(killed)
        for what in ("videos", "exported", "damage"):
            if found[what] != self._seen[what]:
                self._wrong(f"after {named}: {what} {_other(self._seen[what], found[what])}")
        self._judge(named, [self._seen], found)
        verified = self._verifier.look(self._environments[killed], str(killed))
        if verified.get("result") != []:
            self._wrong(f"after {named}: verify: {verified}")
        if left := [p.name for p in killed.rglob("*") if p.suffix in (".partial", ".tmp")]:
            self._wrong(f"after {named}: left over: {left}")
        shutil.rmtree(exported(at.work), ignore_errors=True)
        self.outcome.done[name] += 1

    def _command(
        self, name: str, step: Step, at: Round, kills: int, needs_s: float, states: list[Any]
    ) -> None:
        killed = self._homes[1]
        for _ in range(kills):
            running = self._start(step.words(at), killed)
            code = running.wait(self._chance.uniform(0, _SOON * needs_s))
            if code is not None:
                break
            self._killed(name, running, states)
        else:
            running = self._start(step.words(at), killed)
            code = running.wait(_LIMIT_S)
        if code and not (step.gone and "is no library" in running.said):
            self._wrong(f"{name} of round {at.number} ended with {code}: {running.said[-600:]}")

    def _serve(self, name: str, at: Round, kills: int, needs_s: float, states: list[Any]) -> None:
        """Ingests by HTTP into a home whose server is killed, and starts again."""
        how = {"path": str(at.folder), "modalities": ["color"], "device": "cpu", "prune": True}
        job = ""
        for _ in range(kills):
            with self._served() as server, server.inside() as inside:
                job = _begun(inside, job, how)
                time.sleep(self._chance.uniform(0, _SOON * needs_s))
                ended = inside.get(f"/v1/ingest/{job}").json()["state"] not in ("queued", "running")
                self._killed(name, server.running, states)
            if ended:
                break
        with self._served() as server, server.inside() as inside:
            job = _begun(inside, job, how)
            ended = until(lambda: _ended(inside, job), _LIMIT_S)
            if ended["state"] != "done":
                self._wrong(f"{name} of round {at.number}: {ended}")
            code = server.running.end(signal.SIGINT)
            if code != 0:
                self._wrong(f"the server ended with {code}: {server.running.said[-600:]}")

    @contextmanager
    def _served(self) -> Iterator[_Served]:
        words = ["serve", "--port", "0"]
        yield _Served(self._homes[1], self._start(words, self._homes[1]))

    def _killed(self, name: str, running: Running, states: list[Any]) -> None:
        left = running.kill()
        self.outcome.kills[name] += 1
        where = f"kill {self.outcome.kills.total()}, of {name}"
        if left:
            self._wrong(f"{where}: {len(left)} processes are left: {left}")
        number = self.outcome.kills.total()
        questions = [number // 2 % ASKED] if number % 2 else []  # they cost most of a look
        found = self._look(self._homes[1], questions)
        of = [state["videos"] for state in states]
        for video_id in set().union(*of, found["videos"]):
            if found["videos"].get(video_id) not in [state.get(video_id) for state in of]:
                self._wrong(f"{where}: {video_id} is neither as before nor as after")
        for path, content in found["exported"].items():
            if content != states[1]["exported"].get(path):
                self._wrong(f"{where}: {path} is not what is exported")
        if found["damage"]:
            self._wrong(f"{where}: {found['damage']}")
        self._judge(where, states, found, questions)

    def _judge(
        self, where: str, states: Sequence[Any], found: Any, questions: Sequence[int] = ()
    ) -> None:
        """Judges answers to the named questions; to all of them, after which nothing may differ."""
        strictly = not questions
        for number, answer in zip(questions or _ALL, found["answers"]):
            judged = judge_among([state["answers"][number] for state in states], answer)
            self.outcome.answers[judged.verdict.value] += not strictly
            if judged.verdict.bad or (strictly and judged.verdict.value != "same"):
                self._wrong(f"{where}: {asked()[number]}: {judged.verdict}: {judged.why}")

    def _wrong(self, line: str) -> None:
        print(line, flush=True)
        self.outcome.wrong.append(line)

    def _start(self, words: Sequence[str], home: Path) -> Running:
        return self._spawner.start(words, self._environments[home])

    def _look(self, home: Path, questions: Sequence[int] = _ALL) -> dict[str, Any]:
        where = str(exported(self._work / "videos"))
        found: Answer = self._spawner.look(
            self._environments[home], str(home), where, list(questions)
        )
        assert "result" in found, found
        return found["result"]  # type: ignore[no-any-return]

    def close(self) -> None:
        """Ends the processes that start others."""
        self._spawner.close()
        self._verifier.close()


def _other(wanted: Any, found: Any) -> str:
    if isinstance(wanted, dict):
        keys = sorted(k for k in wanted.keys() | found.keys() if wanted.get(k) != found.get(k))
        return f"differ in {len(keys)}: {keys[:5]}"
    return f"{found}, not {wanted}"


def _begun(inside: httpx2.Client, job: str, how: dict[str, Any]) -> str:
    """Begins a job, or the one that a killed server left once more; gives its id."""
    if job:
        known = inside.get(f"/v1/ingest/{job}").json()
        if known.get("state") in ("done", "queued", "running"):
            return job
        answer = inside.post(f"/v1/ingest/{job}/retry")
        if answer.is_success:
            return str(answer.json()["job"])
    return str(inside.post("/v1/ingest", json=how).json()["job"])


def _ended(inside: httpx2.Client, job: str) -> Any:
    found = inside.get(f"/v1/ingest/{job}").json()
    return found if found["state"] not in ("queued", "running") else None


def kill_commands(work: Path, kills: int, seed: int, videos: int, uri: str = "") -> Outcome:
    """Kills so many times; Ctrl-C ends it early."""
    harness = CommandKills(work, videos, seed, uri)
    try:
        for line in harness.run(kills):
            print(line, flush=True)
    except KeyboardInterrupt:
        print("Interrupted.", flush=True)
    finally:
        harness.close()
    return harness.outcome


def main() -> None:
    """Runs `kill_commands` for the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("kills", type=int, nargs="?", default=50)
    parser.add_argument("seed", type=int, nargs="?", default=0)
    parser.add_argument("--home-of", type=int, default=1000, metavar="VIDEOS")
    parser.add_argument("--server", action="store_true")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        server = None
        if given.server:
            from .milvus_targets import MilvusServer

            server = MilvusServer(Path(folder) / "server")
            server.start()
        try:
            (work := Path(folder) / "work").mkdir()
            uri = server.uri if server else ""
            outcome = kill_commands(work, given.kills, given.seed, given.home_of, uri)
        finally:
            if server:
                server.kill()
    print(outcome)
    raise SystemExit(bool(outcome.wrong))


if __name__ == "__main__":
    main()
