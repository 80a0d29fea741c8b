"""Progress at a terminal: a bar per stage, drawn by rich."""

from __future__ import annotations

from rich.console import Console
from rich.progress import BarColumn, Progress, ProgressColumn, Task, TaskID, TextColumn
from rich.table import Column
from rich.text import Text

from .step import Step, counted

_BAR_WIDTH = 16


class TerminalBars:
    """Draws a line per stage on stderr, and below it what the stage works on."""

    def __init__(self) -> None:
        """Start with no stage."""
        self._tasks: dict[str, TaskID] = {}
        self._progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(_BAR_WIDTH),
            _Counted(Column(no_wrap=True, overflow="ellipsis")),
            console=Console(stderr=True),
        )
        self._progress.start()

    def tell(self, step: Step) -> None:
        """Take the latest step of a stage, from any thread."""
        if step.stage not in self._tasks:
            task = self._progress.add_task(step.stage, total=step.total, step=step)
            self._tasks[step.stage] = task
        self._progress.update(self._tasks[step.stage], completed=step.done, step=step)
        if step.finished:
            task = self._tasks.pop(step.stage)
            self._progress.stop_task(task)
            if step.total is None:  # else its bar would go on moving
                self._progress.update(task, total=1, completed=1)

    def close(self) -> None:
        """Leave the bars as they are."""
        self._progress.stop()


class _Counted(ProgressColumn):
    """How much is done, how fast, and how long it will take."""

    def render(self, task: Task) -> Text:
        step: Step = task.fields["step"]
        said = counted(step, task.elapsed or 0.0)
        return Text(f"{said}\n{step.note}" if step.note else said)
