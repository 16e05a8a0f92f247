"""Kills, second writers and full disks: nothing acknowledged is lost, and the next run continues."""

from __future__ import annotations

import contextlib
import errno
import os
import platform
import random
import shutil
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path

import pytest

from colour_encoder import ColourEncoder, write_people
from passerby.errors import GalleryError
from passerby.gallery import Gallery, local, lock, space
from passerby.gallery.store import ENGINES

PROGRAM = Path(__file__).with_name("indexing_process.py")


def start(address, folder, exists=False, erase=False):
    return subprocess.Popen(
        [sys.executable, str(PROGRAM), address, str(folder), str(int(exists)), str(int(erase))],
        stdout=subprocess.PIPE,
        text=True,
        env=os.environ | {"PYTHONPATH": str(PROGRAM.parent.parent)},
    )


def lines_until(process, word):
    lines = []
    for line in process.stdout:
        lines.append(line.split())
        if line.startswith(word):
            break
    return lines


@pytest.fixture(params=ENGINES)
def address(request, tmp_path):
    return f"{request.param}:{tmp_path / 'gallery'}"


@pytest.mark.parametrize("seed", range(4))
def test_a_kill_while_adding_loses_nothing_acknowledged(address, tmp_path, seed):
    write_people(tmp_path / "people", 80)
    chance = random.Random(seed)
    process = start(address, tmp_path / "people")
    lines_until(process, "ready")
    time.sleep(chance.uniform(0, 0.35))
    process.kill()
    acknowledged = [int(line.split()[1]) for line in process.stdout.read().splitlines() if line[0].isdigit()]
    process.wait()
    model = ColourEncoder()
    with Gallery.open(address, model) as gallery:
        kept = len(gallery)
        assert kept >= max(acknowledged, default=0)
        if kept:
            assert len(gallery.search("red", k=80, keep_poor=True)) == kept
        report = gallery.add(tmp_path / "people")
        assert report.added == 80 - kept
        assert model.encoded == 80 - kept  # what was finished is not encoded again
        assert len(gallery.search("red", k=100, keep_poor=True)) == 80
        for picture in gallery:
            assert len(gallery.thumbnail(picture.id)) > 100
            assert gallery.search(image=picture.path, k=1)[0].score > 0.99


@pytest.mark.parametrize("seed", range(2))
def test_a_kill_while_deleting_resurrects_nothing(address, tmp_path, seed):
    write_people(tmp_path / "people", 60)
    process = start(address, tmp_path / "people", erase=True)
    lines_until(process, "60")
    time.sleep(random.Random(seed).uniform(0, 0.2))
    process.kill()
    erased = [line.split()[1] for line in process.stdout.read().splitlines() if line.startswith("erased")]
    process.wait()
    with Gallery.open(address, ColourEncoder()) as gallery:
        held = {picture.id for picture in gallery}
        assert not held & set(erased)
        assert len(held) in (60 - len(erased), 60 - len(erased) - 1)
        assert {hit.id for hit in gallery.search("green", k=60, keep_poor=True)} == held
        gallery.delete([])
        assert {path.stem for path in (Path(gallery.address) / "thumbnails").rglob("*.jpg")} == held


def test_a_kill_while_creating_leaves_no_half_gallery(address, tmp_path, monkeypatch):
    def die(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(local, "write_manifest", die)
        with pytest.raises(KeyboardInterrupt):
            Gallery.create(address, ColourEncoder())
    assert list(tmp_path.iterdir()) == []
    Gallery.create(address, ColourEncoder()).close()


def test_a_second_writer_is_told_who_the_first_is(address, tmp_path, monkeypatch):
    monkeypatch.setattr(local, "_PATIENCE_S", 0.1)
    write_people(tmp_path / "people", 200)
    process = start(address, tmp_path / "people")
    try:
        lines_until(process, "4 ")
        with (
            Gallery.open(address, ColourEncoder()) as gallery,
            pytest.raises(GalleryError, match=rf"in use by another process \(PID {process.pid} on {platform.node()}\)"),
        ):
            gallery.add(tmp_path / "people")
        if address.startswith("exact"):
            with Gallery.open(address, ColourEncoder()) as gallery:
                assert gallery.search("red", k=3)
    finally:
        process.kill()
        process.communicate()
    with Gallery.open(address, ColourEncoder()) as gallery:  # the dead one's lock is no lock
        gallery.add(tmp_path / "people")
        assert len(gallery) == 200


def test_a_short_holder_is_waited_for(tmp_path):
    write_people(tmp_path / "people", 4)
    address = f"edge:{tmp_path / 'gallery'}"
    with Gallery.create(address, ColourEncoder()) as gallery:
        gallery.add(tmp_path / "people")
        code = (
            f"import time, sys; from pathlib import Path; from passerby.gallery.lock import GalleryLock\n"
            f"held = GalleryLock(Path({gallery.address + '/lock'!r})); held.acquire(5); print('in', flush=True)\n"
            f"time.sleep(0.3)"
        )
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True) as holder:
        assert holder.stdout.readline() == "in\n"
        with Gallery.open(address, ColourEncoder()) as gallery:
            assert gallery.search("red", k=1)


def test_a_second_object_in_the_same_process_is_told_so(tmp_path, monkeypatch):
    monkeypatch.setattr(local, "_PATIENCE_S", 0.05)
    write_people(tmp_path / "people", 3)
    with Gallery.create(tmp_path / "gallery", ColourEncoder()) as first:
        first.add(tmp_path / "people")
        with (
            first.store.writing(),
            Gallery.open(tmp_path / "gallery", ColourEncoder()) as second,
        ):
            assert len(second.search("red")) == 3  # searching needs no lock
            with pytest.raises(GalleryError, match=r"this very process .* call close\(\)"):
                second.add(tmp_path / "people")


def test_an_unreadable_note_is_no_obstacle(tmp_path):
    (tmp_path / "lock").write_text("{broken")
    one, other = lock.GalleryLock(tmp_path / "lock"), lock.GalleryLock(tmp_path / "lock")
    one.acquire(0)
    one.acquire(0)
    (tmp_path / "lock").write_text("{broken")
    with pytest.raises(GalleryError, match="another process; wait for it"):
        other.acquire(0)
    one.release()
    one.release()
    other.acquire(0)
    other.release()


@contextmanager
def small_disk(folder, megabytes):
    """A file system of its own: not tmpfs, where even reading a hole of a mapped file takes room."""
    folder.mkdir()
    image = folder.with_suffix(".image")
    with image.open("wb") as file:
        file.truncate(megabytes << 20)
    commands = (["mkfs.ext4", "-q", "-F", "-m", "0", str(image)], ["mount", "-o", "loop", str(image), str(folder)])
    for command in commands:
        program = shutil.which(command[0], path=f"{os.environ['PATH']}:/usr/sbin:/sbin")
        if program is None or subprocess.run([program, *command[1:]], capture_output=True, check=False).returncode:
            pytest.skip("mounting a small disk needs root on Linux")
    try:
        yield
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)


@pytest.mark.parametrize("engine", ENGINES)
def test_a_really_full_disk(engine, tmp_path):
    write_people(tmp_path / "people", 150)
    disk = tmp_path / "disk"
    with small_disk(disk, 100):
        address = f"{engine}:{disk / 'gallery'}"
        with Gallery.create(address, ColourEncoder()) as gallery:
            gallery.add(sorted((tmp_path / "people").iterdir())[:64])
        ballast = disk / "ballast"
        with ballast.open("wb") as file:
            file.write(bytes(shutil.disk_usage(disk).free - 40_000))
        with Gallery.open(address, ColourEncoder()) as gallery:
            with pytest.raises(GalleryError, match=r"no space left .* nothing that was finished is lost"):
                gallery.add(tmp_path / "people")
            assert len(gallery) >= 64
            assert len(gallery.search("red", k=150, keep_poor=True)) == len(gallery)
        with Gallery.open(address, ColourEncoder()) as gallery:
            assert len(gallery.search("red", k=150, keep_poor=True)) == len(gallery)
        with (disk / "more").open("wb", buffering=0) as file, contextlib.suppress(OSError):
            while file.write(bytes(512)):
                pass
        with Gallery.open(address, ColourEncoder()) as gallery, pytest.raises(GalleryError, match="no space left"):
            gallery.add(tmp_path / "people")
        ballast.unlink()
        with Gallery.open(address, ColourEncoder()) as gallery:
            assert gallery.add(tmp_path / "people").added == 150 - 64
            assert len(gallery.search("red", k=150, keep_poor=True)) == 150


def test_a_full_disk_where_none_can_be_mounted(address, tmp_path, monkeypatch):
    write_people(tmp_path / "people", 20)

    def refuse(*_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with Gallery.create(address, ColourEncoder()) as gallery:
        with monkeypatch.context() as patched:
            patched.setattr(Path, "write_bytes", refuse)
            with pytest.raises(GalleryError, match=r"no space left .*; free some space and run the same command again"):
                gallery.add(tmp_path / "people")
        with monkeypatch.context() as patched:
            patched.setattr(space.shutil, "disk_usage", lambda _: shutil._ntuple_diskusage(10**9, 10**9, 1000))
            with pytest.raises(GalleryError, match=r"0 MB are free and \d+ MB are needed"):
                gallery.add(tmp_path / "people")
        assert len(gallery) == 0
        assert gallery.add(tmp_path / "people").added == 20


def test_a_full_disk_cuts_off_half_a_batch(tmp_path, monkeypatch):
    write_people(tmp_path / "people", 20)
    with Gallery.create(f"exact:{tmp_path / 'gallery'}", ColourEncoder()) as gallery:
        gallery.add(sorted((tmp_path / "people").iterdir())[:5])

        def half(handle):
            os.ftruncate(handle, os.fstat(handle).st_size - 100)
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

        with monkeypatch.context() as patched:
            patched.setattr("passerby.gallery.exact.os.fsync", half)
            with pytest.raises(GalleryError, match="no space left"):
                gallery.add(tmp_path / "people")
        assert len(gallery.search("red", k=20)) == 5
        assert gallery.add(tmp_path / "people").added == 15


@pytest.mark.skipif(os.name != "posix" or os.geteuid() == 0, reason="root may write anywhere")
def test_a_folder_that_may_not_be_written(tmp_path):
    (tmp_path / "closed").mkdir(mode=0o500)
    with pytest.raises(GalleryError, match="cannot be written: Permission denied"):
        Gallery.create(tmp_path / "closed" / "gallery", ColourEncoder())
