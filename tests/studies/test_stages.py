"""Where time went: wall and processor seconds, of children too, also when a stage fails."""

import subprocess
import sys
import time

import pytest

from passerby.studies.stages import Stages


def test_sleeping_costs_wall_time_and_computing_costs_both():
    stages = Stages()
    with stages.stage("sleep"):
        time.sleep(0.05)
    with stages.stage("compute"):
        sum(range(3_000_000))
    with stages.stage("child"):
        subprocess.run([sys.executable, "-S", "-c", "sum(range(3_000_000))"], check=True)
    seconds = stages.with_total()
    assert list(seconds) == ["sleep", "compute", "child", "total"]
    assert seconds["sleep"]["wall"] >= 0.05
    assert seconds["sleep"]["cpu"] < 0.05
    assert seconds["compute"]["cpu"] > 0
    assert seconds["child"]["cpu"] > 0
    for kind in ("wall", "cpu"):
        assert seconds["total"][kind] == pytest.approx(sum(seconds[name][kind] for name in stages.seconds), abs=0.011)


def test_a_stage_that_fails_is_timed_too():
    stages = Stages()
    with pytest.raises(ZeroDivisionError), stages.stage("train"):
        _ = 1 / 0
    assert "train" in stages.seconds
