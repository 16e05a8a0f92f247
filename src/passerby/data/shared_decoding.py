"""Decodes the pictures of a training cache in several processes, each its share, straight into the mapped array.

Threads decode no faster than one of them does: half of the work on a small picture is Python's own, which threads take
turns at. The processes are this module run as a program; they import neither the caller's script nor PyTorch.
"""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import BinaryIO

import numpy as np

from passerby.data.images import decode_image, resize_image
from passerby.errors import DataError

_TELL_EVERY = 128  # pictures


def decode_into(
    target: Path,
    paths: Sequence[Path],
    interpolation: str,
    processes: int,
    told: Callable[[int], None],
) -> None:
    """Decode and resize pictures into the rows of an array on disk.

    Args:
        target: a .npy file of shape (N, height, width, 3) uint8; picture i goes into row i.
        paths: N picture files.
        interpolation: of the resize.
        processes: how many, at least 1; process p takes the pictures p, p + processes, and so on.
        told: called with how many more pictures are done, from several threads, one at a time.

    Raises:
        DataError: a picture is missing or cannot be decoded; the other processes are stopped.
    """
    turn, failures = threading.Lock(), list[str]()
    running = [_start(target, interpolation) for _ in range(processes)]

    def follow(first: int, process: subprocess.Popen[bytes]) -> None:
        try:
            _hand_over(process, [[row, str(paths[row])] for row in range(first, len(paths), processes)])
            for line in process.stdout or ():
                news = json.loads(line)
                with turn:
                    if "error" in news:
                        failures.append(news["error"])
                        break
                    told(news["done"])
        except (OSError, ValueError) as error:  # it has ended before or while it was told what to do
            failures.append(f"a process that decodes pictures could not be told its share ({error})")
        if failures:
            for other in running:
                other.kill()

    threads = [threading.Thread(target=follow, args=pair) for pair in enumerate(running)]
    try:
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        ended = [process.wait() for process in running]
    finally:
        for process in running:
            _end(process)
    if failures:
        raise DataError(failures[0])
    if any(ended):
        raise DataError(
            "a process that decodes pictures has ended early; is there memory enough? The same call begins anew"
        )


def _start(target: Path, interpolation: str) -> subprocess.Popen[bytes]:
    program = [sys.executable, "-m", "passerby.data.shared_decoding", str(target), interpolation]
    return subprocess.Popen(program, stdin=subprocess.PIPE, stdout=subprocess.PIPE)  # noqa: S603


def _end(process: subprocess.Popen[bytes]) -> None:
    process.kill()
    process.wait()
    if process.stdout is not None:
        process.stdout.close()


def _hand_over(process: subprocess.Popen[bytes], share: list[list[int | str]]) -> None:
    if process.stdin is None:
        raise ValueError("a process without pipes")
    with process.stdin:
        process.stdin.write(json.dumps(share).encode())


def main(target: Path, interpolation: str, asked: BinaryIO) -> None:
    """Do one share: a JSON list of [row, path] comes in, lines of JSON go out."""
    pixels = np.load(target, mmap_mode="r+")
    size = (pixels.shape[1], pixels.shape[2])
    untold = 0
    for row, path in json.load(asked):
        try:
            pixels[row] = resize_image(decode_image(path, at_least=size), size, interpolation)
        except DataError as error:
            _tell({"error": str(error)})
            return
        untold += 1
        if untold == _TELL_EVERY:
            _tell({"done": untold})
            untold = 0
    pixels.flush()
    _tell({"done": untold})


def _tell(news: dict[str, int | str]) -> None:
    sys.stdout.write(json.dumps(news) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2], sys.stdin.buffer)
