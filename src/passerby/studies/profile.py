"""What models cost: parameters, multiply-adds, latency, memory and bytes, each model in a process of its own.

Pictures and sentences stand in columns of their own, because a gallery pays for its pictures once and a query for its
sentence each time; adding them hides an eighty-fold difference between encoders in a total.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Sequence
from typing import Any

from passerby.errors import ConfigError, PasserbyError

#: One model's figures as JSON values: see `passerby.studies.profile_child.measure`.
Profile = dict[str, Any]

_CODE = "from passerby.studies.profile_child import main; main()"


def profile_models(
    models: Sequence[str],
    *,
    runtime: str = "torch",
    device: str = "cpu",
    threads: int = 1,
    tokens: int = 24,
    repeats: int = 20,
    progress: Callable[[int, int, str], None] | None = None,
) -> list[Profile]:
    """Profile models one after the other.

    Args:
        models: what `open_subject` of `profile_subject` takes.
        runtime: "torch", or "onnxruntime" or "openvino" for models with exported towers.
        device: "cpu", or "cuda" for torch.
        threads: of every engine, 1 or more.
        tokens: of a typical query, 1 or more; cut to what the model takes.
        repeats: timed calls of each point; 0 counts and times nothing.
        progress: called with (done, total, model).

    Raises:
        ConfigError: a number is out of range.
        PasserbyError: a model cannot be opened or not run so; the message names it.
    """
    for name, value, lowest in (("threads", threads, 1), ("tokens", tokens, 1), ("repeats", repeats, 0)):
        if value < lowest:
            raise ConfigError(f"{name} is {value}; expected {lowest} or more")
    found = []
    for done, model in enumerate(models):
        if progress:
            progress(done, len(models), model)
        request = {
            "model": model, "runtime": runtime, "device": device, "threads": threads, "tokens": tokens,
            "repeats": repeats,
        }  # fmt: skip
        found.append(_in_a_process(request))
    if progress:
        progress(len(models), len(models), "")
    return found


def table(profiles: Sequence[Profile]) -> tuple[list[str], list[list[str]]]:
    """Head and rows of the profiles, as text.

    Args:
        profiles: what `profile_models` returned.
    """
    head = ["model", "image", "M image", "M text (no emb.)", "M MAC/image", "M MAC/text", "MB", "B/index"]
    timed = all("runtime" in profile for profile in profiles)
    if timed:
        head += ["image b1 ms", "image b32 ms", "text b1 ms", "text b32 ms", "images/s", "peak MB"]
    return head, [_row(profile, timed) for profile in profiles]


def markdown(profiles: Sequence[Profile]) -> str:
    """The table in Markdown, with what the figures mean below it.

    Args:
        profiles: what `profile_models` returned.
    """
    head, rows = table(profiles)
    lines = [f"| {' | '.join(head)} |", f"|---|---|{'---:|' * (len(head) - 2)}"]
    lines += [f"| {' | '.join(row)} |" for row in rows]
    return "\n".join(lines) + f"\n\n{legend(profiles)}\n"


def legend(profiles: Sequence[Profile]) -> str:
    """What the columns mean, in two sentences.

    Args:
        profiles: what `profile_models` returned.
    """
    first = profiles[0]
    query = f"per gallery picture and per query of {first['tokens']} tokens"
    told = f"M: millions. MAC: multiply-adds, {query}; {first['counter']}."
    if "runtime" not in first:
        return told
    return (
        f"{told} Milliseconds as median (95th percentile) on {first['threads']} thread(s) of {first['runtime']}, "
        f"{first['detail']}, after a warm-up; peak MB is the whole process with its libraries."
    )


def _row(profile: Profile, timed: bool) -> list[str]:
    height, width = profile["image_size"]
    without = profile["text_parameters_without_embeddings"]
    row = [
        profile["model"],
        f"{height}x{width}",
        _millions(profile["image_parameters"]),
        f"{_millions(profile['text_parameters'])} ({_millions(without)})",
        f"{profile['image_multiply_adds'] / 1e6:,.1f}",
        f"{profile['text_multiply_adds'] / 1e6:,.1f}",
        f"{profile['checkpoint_bytes'] / 1e6:,.1f}",
        f"{profile['index_bytes']:,}",
    ]
    if timed:
        points = [profile[key] for key in ("image_batch1", "image_batch32", "text_batch1", "text_batch32")]
        row += [f"{point['p50_ms']:.1f} ({point['p95_ms']:.1f})" for point in points]
        memory = profile["peak_rss_bytes"] if profile["peak_gpu_bytes"] in (None, 0) else profile["peak_gpu_bytes"]
        row += [f"{profile['images_per_s']:,.0f}", f"{memory / 1e6:,.0f}"]
    return row


def _millions(count: int) -> str:
    return f"{count / 1e6:.2f}"


def _in_a_process(request: dict[str, Any]) -> Profile:
    threads = str(request["threads"])
    calm = {"OMP_NUM_THREADS": threads, "OMP_WAIT_POLICY": "PASSIVE", "TOKENIZERS_PARALLELISM": "false"}
    done = subprocess.run(  # noqa: S603 our own interpreter and our own module; the request goes by standard input
        [sys.executable, "-c", _CODE],
        input=json.dumps(request),
        env={**os.environ, **calm},
        capture_output=True,
        text=True,
        check=False,
    )
    try:
        answer = json.loads(done.stdout)
    except ValueError as error:
        last = (done.stderr.strip().splitlines() or [f"exit code {done.returncode}"])[-1]
        raise PasserbyError(f"profiling {request['model']} ended without a result: {last}") from error
    if "error" in answer:
        raise PasserbyError(f"{request['model']}: {answer['error']}")
    return answer
