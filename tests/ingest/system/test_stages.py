"""What an ingest took: every stage is counted, and the main loop's time is accounted for."""

from __future__ import annotations

import time

from vidsim.ingest.extract.embed import EmbedOptions
from vidsim.ingest.pipeline import ingest
from vidsim.ingest.system.progress import Silent
from vidsim.ingest.system.stages import Meter, Spent, Stage
from vidsim.schemas.modality import Modality
from vidsim.schemas.presets import choose_backbones


def test_seconds_add_up_by_stage_and_come_in_order():
    meter = Meter()
    meter.add(Stage.WRITE, Spent(cpu_s=1, busy_s=2))
    meter.add(Stage.DECODE, Spent(blocked_s=5))
    meter.add(Stage.WRITE, Spent(cpu_s=10, held_s=3))
    assert list(meter.spent.items()) == [
        (Stage.DECODE, Spent(blocked_s=5)),
        (Stage.WRITE, Spent(cpu_s=11, busy_s=2, held_s=3)),
    ]


def test_work_counts_as_busy_and_waiting_does_not():
    meter = Meter()
    with meter.working(Stage.MOTION):
        until = time.thread_time() + 0.05
        while time.thread_time() < until:
            pass
    with meter.waiting(Stage.AUDIO):
        time.sleep(0.05)
    worked, waited = meter.spent[Stage.MOTION], meter.spent[Stage.AUDIO]
    assert worked.busy_s == worked.held_s > 0.049
    assert worked.cpu_s > 0.049
    assert (waited.cpu_s, waited.busy_s) == (0, 0)
    assert waited.held_s > 0.049


def test_waiting_for_items_is_not_the_time_spent_on_them():
    meter = Meter()

    def slow():
        for i in range(3):
            time.sleep(0.02)
            yield i

    taken = []
    for item in meter.waited_for(Stage.DECODE, slow()):
        time.sleep(0.1)
        taken.append(item)
    assert taken == [0, 1, 2]
    assert 0.06 <= meter.spent[Stage.DECODE].held_s < 0.2


def test_an_ingest_says_where_its_time_went(place, make_clip, tmp_path):
    (tmp_path / "lib").mkdir()
    for i in range(6):
        make_clip(f"lib/{i}.mkv", times=[n / 25 for n in range(50)], size=(320, 240))
    options = EmbedOptions(choose_backbones([Modality.COLOR]), device="cpu", workers=1)
    timing = ingest(tmp_path / "lib", place, options, Silent()).timing
    assert list(timing.stages) == ["decode", "color", "write"]
    assert all(stage.cpu_s > 0 and stage.busy_s > 0 for stage in timing.stages.values())
    working_s = timing.seconds - timing.startup_s
    held_s = sum(stage.held_s for stage in timing.stages.values())
    assert 0.8 * working_s < held_s <= working_s
    # The decoder runs ahead: two batches of four, and at most four segments wait.
    decode = timing.stages["decode"]
    assert decode.busy_s + decode.blocked_s <= timing.seconds
