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

#: Address space of the process in bytes; the largest picture that is allowed takes half of it.
MEMORY = 2_500_000_000
#: Processor time for one picture in seconds; 40 megapixels of ordinary kinds take about one.
SECONDS = 10


def main(requests: BinaryIO, answers: BinaryIO) -> None:
    """Answer until the input ends."""
    while line := requests.readline():
        asked = json.loads(line)
        encoded = requests.read(asked["bytes"])
        _allow_time()
        try:
            pixels = decode_image(encoded, asked["at_least"] and tuple(asked["at_least"]), asked["name"])
            head, body = {"size": pixels.shape[:2]}, pixels.tobytes()
        except DataError as error:
            head, body = {"error": str(error)}, b""
        except MemoryError:
            head, body = {"error": f"{asked['name']} takes too much memory to decode; scale it down"}, b""
        answers.write(json.dumps(head).encode() + b"\n" + body)
        answers.flush()


def limit_memory() -> None:
    """Let no allocation go beyond `MEMORY`, where the operating system can."""
    if sys.platform != "win32":
        import resource

        resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def _allow_time() -> None:
    if sys.platform != "win32":
        import resource

        used = resource.getrusage(resource.RUSAGE_SELF)
        most = int(used.ru_utime + used.ru_stime) + 1 + SECONDS
        resource.setrlimit(resource.RLIMIT_CPU, (most, resource.RLIM_INFINITY))


if __name__ == "__main__":
    warnings.filterwarnings("ignore")  # what is wrong with a picture is said by its error
    limit_memory()
    main(sys.stdin.buffer, sys.stdout.buffer)
