"""The desk at which requests wait: a few are worked on at once, some wait, and the rest are sent away at once.

Searches run beside each other in threads; writing runs alone, because a gallery is not to be searched while it changes.
A request that takes too long is given up by its client only: its thread keeps its place until it ends, so that slow
work cannot pile up behind the desk.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from passerby.errors import PasserbyError

Result = TypeVar("Result")


class BusyError(PasserbyError):
    """Too many requests are waiting already."""


class TooSlowError(PasserbyError):
    """A request waited or worked for too long."""


class Desk:
    """Runs work in threads, within limits; belongs to one event loop."""

    def __init__(self, workers: int, waiting: int, timeout_s: float) -> None:
        """Open the desk.

        Args:
            workers: pieces of work at once.
            waiting: pieces of work that may wait.
            timeout_s: longest wait and longest work, in seconds.
        """
        self.waiting = 0
        self.working = 0
        self._workers = workers
        self._room = waiting
        self._timeout_s = timeout_s
        self._places = asyncio.Semaphore(workers)
        self._writer = asyncio.Lock()
        self._threads = ThreadPoolExecutor(workers, thread_name_prefix="passerby-serve")

    async def read(self, work: Callable[[], Result]) -> Result:
        """Run work beside other work that only reads.

        Raises:
            BusyError: as many as may wait are waiting.
            TooSlowError: it waited or worked for too long.
        """
        await self._wait(self._take)
        return await self._run(work, 1)

    async def write(self, work: Callable[[], Result]) -> Result:
        """Run work with nothing beside it; what it raises is what `read` does."""
        await self._wait(self._take_all)
        return await self._run(work, self._workers)

    def close(self) -> None:
        """Finish what is being worked on and take nothing more."""
        self._threads.shutdown(wait=True, cancel_futures=True)

    async def _wait(self, take: Callable[[], Awaitable[None]]) -> None:
        if self._places.locked() and self.waiting >= self._room:
            raise BusyError(f"{self.waiting} requests are waiting already; ask again in a moment")
        self.waiting += 1
        try:
            async with asyncio.timeout(self._timeout_s):
                await take()
        except TimeoutError:
            raise TooSlowError(f"no worker was free within {self._timeout_s:g} s; ask again later") from None
        finally:
            self.waiting -= 1

    async def _take(self) -> None:
        await self._places.acquire()

    async def _take_all(self) -> None:
        taken = 0
        # One writer at a time: two that each hold half of the places would wait for each other for ever.
        async with self._writer:
            try:
                while taken < self._workers:
                    await self._places.acquire()
                    taken += 1
            except BaseException:
                self._give(taken)
                raise

    def _give(self, places: int) -> None:
        for _ in range(places):
            self._places.release()

    async def _run(self, work: Callable[[], Result], places: int) -> Result:
        try:
            future = asyncio.get_running_loop().run_in_executor(self._threads, work)
        except RuntimeError:
            self._give(places)
            raise BusyError("the service is stopping") from None
        self.working += 1
        future.add_done_callback(lambda _: self._finished(places))
        done, _ = await asyncio.wait({future}, timeout=self._timeout_s)
        if not done:
            future.add_done_callback(lambda late: late.cancelled() or late.exception())  # nobody else will look
            raise TooSlowError(f"the work took longer than {self._timeout_s:g} s and was given up")
        return future.result()

    def _finished(self, places: int) -> None:
        self.working -= 1
        self._give(places)
