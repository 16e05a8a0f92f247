"""`torchrun ... -m passerby index`: two processes, killed once, make the gallery that one process makes."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time

import numpy as np
import pytest

from colour_encoder import write_people
from passerby.gallery import Gallery

psutil = pytest.importorskip("psutil")
pytest.importorskip("torch")

CALM = os.environ | {"OMP_NUM_THREADS": "1", "OMP_WAIT_POLICY": "PASSIVE"}
TORCHRUN = ("-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2", "-m", "passerby")


def start(program, *arguments):
    return subprocess.Popen(
        [sys.executable, *program, *map(str, arguments)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=CALM,
    )


def kill_with_workers(process):
    """The launcher's workers have process groups of their own and would go on without it."""
    family = [psutil.Process(process.pid), *psutil.Process(process.pid).children(recursive=True)]
    for one in family:
        one.kill()
    process.communicate()
    psutil.wait_procs(family)


def test_torchrun_is_killed_and_continues_to_the_gallery_of_one_process(tmp_path):
    people = tmp_path / "people"
    write_people(people, 150)
    (people / "bad.jpg").write_text("text")
    shards = tmp_path / ".two.shards"
    first = start(TORCHRUN, "index", people, "--gallery", tmp_path / "two")
    while first.poll() is None and not list(shards.glob("*-of-2/catalogue.sqlite")):
        time.sleep(0.01)
    interrupted = first.poll() is None
    if interrupted:
        kill_with_workers(first)
        assert shards.is_dir(), "what was finished waits for the next run"
    second = start(TORCHRUN, "index", people, "--gallery", tmp_path / "two", "--json")
    alone = start(("-m", "passerby"), "index", people, "--gallery", tmp_path / "one", "--json")
    reports = []
    for process in (second, alone):
        out, err = process.communicate()
        assert process.returncode == 0, err
        reports.append(json.loads(out))
    together, single = reports
    assert single["added"] == single["pictures"] == together["pictures"] == 150
    assert together["added"] + together["already_there"] == 150
    assert [one["path"] for one in together["unreadable"]] == [one["path"] for one in single["unreadable"]]
    assert not shards.exists()
    with Gallery.open(tmp_path / "one") as one, Gallery.open(tmp_path / "two") as two:
        assert list(one) == list(two)
        assert two.verify() == []
        ids = [picture.id for picture in one]
        # Half precision; which pictures share a batch may round the last bit differently.
        np.testing.assert_allclose(one.vectors(ids), two.vectors(ids), atol=2e-3)
