"""Killing `killed_process` at random and finding out whether anything that it acknowledged is missing."""

from __future__ import annotations

import os
import random
import subprocess
import sys
import time
from pathlib import Path

import killed_process
import numpy as np
from killed_process import create, picture_id, vector_of

from passerby.gallery.local import LocalStore
from passerby.gallery.store import parse_address

PROGRAM = Path(killed_process.__file__)


def kill_often(address, runs, seed, longest_s):
    """Start the process, kill it, look, again and again on one gallery.

    Returns:
        What was wrong, one sentence each; and how often each kind of work was interrupted.
    """
    create(address).close()
    chance = random.Random(seed)
    held, problems, interrupted, number = set(), [], {}, 0
    for run in range(runs):
        process = subprocess.Popen(
            [sys.executable, str(PROGRAM), address, str(number), str(seed * 1000 + run)],
            stdout=subprocess.PIPE,
            text=True,
            env=os.environ | {"OMP_NUM_THREADS": "1"},
        )
        assert process.stdout is not None
        process.stdout.readline()
        time.sleep(chance.uniform(0, longest_s))
        process.kill()
        lines = [line.split() for line in process.stdout.read().splitlines()]
        process.wait()
        maybe = set()
        for kind, *names in lines:
            held = held | set(names) if kind == "added" else held - set(names) if kind == "deleted" else held
            number += len(names) if kind == "adding" else 0
        if lines:
            last, *names = lines[-1]
            maybe = set(names) if last in ("adding", "deleting") else set()
            interrupted[last] = interrupted.get(last, 0) + 1
        found, wrong = look(address, run)
        problems += wrong
        missing, extra = held - found - maybe, found - held - maybe
        problems += [f"run {run}: {len(missing)} acknowledged rows are missing"] if missing else []
        problems += [f"run {run}: {len(extra)} deleted rows are back"] if extra else []
        held = found
    return problems, interrupted


def look(address, run):
    """Open the gallery as a user would; every row has to be the one that was added and be found."""
    problems = []
    try:
        store = LocalStore.open(parse_address(address))
        found = set(store.ids())
        problems += [f"run {run}: {one}" for one in store.problems()]
        for name in sorted(found)[:: max(1, len(found) // 20)]:
            half = vector_of(name).astype(np.float16)
            if store.vectors([name]).astype(np.float16).tobytes() != half.tobytes():
                problems.append(f"run {run}: {name} has another vector")
            if store.search(vector_of(name), 1)[0][0] != name:
                problems.append(f"run {run}: {name} is not found")
        store.close()
    except Exception as error:  # whatever it is, it is a gallery that does not open
        return set(), [f"run {run}: {type(error).__name__}: {error}"]
    return found, problems


__all__ = ["kill_often", "picture_id"]
