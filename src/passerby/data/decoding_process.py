"""Decodes pictures for `passerby.data.untrusted`, in a process with little memory and little time for each.

Requests come on standard input, answers go to standard output: a line of JSON, then bytes. When the time for a picture
is over, the operating system ends the process; a picture that wants too much memory is told so.
"""

from __future__ import annotations

import json
import sys
import warnings
from typing import BinaryIO

from passerby.data.images import decode_image
from passerby.errors import DataError


def main(requests: BinaryIO, answers: BinaryIO, seconds: int) -> None:
    """Answer until the input ends; each picture may take so many seconds of processor time."""
    while line := requests.readline():
        asked = json.loads(line)
        encoded = requests.read(asked["bytes"])
        _allow(seconds)
        try:
            pixels = decode_image(encoded, asked["at_least"] and tuple(asked["at_least"]), asked["name"])
            head, body = {"size": pixels.shape[:2]}, pixels.tobytes()
        except DataError as error:
            head, body = {"error": str(error)}, b""
        answers.write(json.dumps(head).encode() + b"\n" + body)
        answers.flush()


def limit_memory(memory: int) -> None:
    """Let no allocation go beyond an address space of so many bytes, where the operating system can."""
    if sys.platform != "win32":
        import resource

        resource.setrlimit(resource.RLIMIT_AS, (memory, memory))
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def _allow(seconds: int) -> None:
    if sys.platform != "win32":
        import resource

        used = resource.getrusage(resource.RUSAGE_SELF)
        most = int(used.ru_utime + used.ru_stime) + 1 + seconds
        resource.setrlimit(resource.RLIMIT_CPU, (most, resource.RLIM_INFINITY))


if __name__ == "__main__":
    warnings.filterwarnings("ignore")  # what is wrong with a picture is said by its error
    limit_memory(int(sys.argv[2]))
    main(sys.stdin.buffer, sys.stdout.buffer, int(sys.argv[1]))
