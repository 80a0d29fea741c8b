"""Turns: as much as the machine can do, and no more waits than can be answered."""

from __future__ import annotations

import asyncio
import time

import pytest

from vidsim.search.server.http.refusals import BusyError
from vidsim.search.server.http.turns import Turns


def test_more_than_may_wait_are_told_when_to_ask_again() -> None:
    async def ask() -> None:
        turns = Turns(running=1, most=2)
        first, second = (asyncio.create_task(turns.run(lambda: time.sleep(0.05))) for _ in range(2))
        await asyncio.sleep(0)
        with pytest.raises(BusyError, match="ask again in 1 s") as refused:
            await turns.run(lambda: None)
        assert refused.value.retry_s >= 1
        await asyncio.gather(first, second)
        assert turns.inside == 0
        assert await turns.run(lambda: 7) == 7

    asyncio.run(ask())


def test_what_fails_gives_its_turn_back() -> None:
    async def ask() -> None:
        turns = Turns(running=1, most=1)
        for _ in range(3):
            with pytest.raises(ZeroDivisionError):
                await turns.run(lambda: 1 // 0)
        assert turns.inside == 0

    asyncio.run(ask())
