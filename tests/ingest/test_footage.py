"""Frames by their time, videos that are none, and streams that drop."""

from __future__ import annotations

import http.server
import io
import sys
import threading

import numpy as np
import pytest
from PIL import Image

from passerby.data.world.scenes import film as frames_of
from passerby.errors import DataError, MissingExtraError
from passerby.ingest import footage
from passerby.ingest.filming import write_video
from passerby.ingest.footage import RECONNECTIONS, Stream, VideoFile, without_secrets
from passerby.ingest.opencv import files_only


@pytest.mark.parametrize("every", [0.05, 0.2, 0.5, 0.7, 3.0, 100.0])
def test_frames_are_the_first_at_or_behind_each_multiple(film, every):
    times = [number / 5 for number in range(40)]
    expected, due = [], 0
    for at in times:
        if at >= due * every - 1e-6:
            expected.append(at)
            while due * every <= at + 1e-6:
                due += 1
    found = [sample.time for sample in VideoFile(film).samples(every)]
    assert found == pytest.approx(expected)


def test_going_on_gives_the_frames_that_were_left(film):
    samples = list(VideoFile(film).samples(0.4))
    for place in (0, 1, 7, len(samples) - 1):
        rest = list(VideoFile(film).samples(0.4, samples[place].time))
        assert [one.time for one in rest] == [one.time for one in samples[place + 1 :]]
        assert all(np.array_equal(one.image, same.image) for one, same in zip(rest, samples[place + 1 :], strict=True))


def test_frames_have_red_first(tmp_path):
    red = np.zeros((64, 64, 3), np.uint8)
    red[:, :, 0] = 220
    write_video([red] * 3, 10, tmp_path / "red.avi")
    image = next(VideoFile(tmp_path / "red.avi").samples(1)).image
    assert image[32, 32, 0] > 180
    assert image[32, 32, 2] < 60


def test_a_truncated_video_gives_what_is_left(film, tmp_path):
    whole = film.read_bytes()
    short = tmp_path / "short.avi"
    short.write_bytes(whole[: len(whole) // 2])
    video = VideoFile(short)
    found = list(video.samples(0.2))
    assert 5 < len(found) < 38
    assert video.ended < 7


def test_damaged_bytes_in_the_middle_lose_frames_and_not_the_run(film, tmp_path):
    content = bytearray(film.read_bytes())
    middle = len(content) // 2
    content[middle : middle + 20_000] = bytes(20_000)
    (tmp_path / "damaged.avi").write_bytes(content)
    assert len(list(VideoFile(tmp_path / "damaged.avi").samples(0.2))) > 5


@pytest.mark.parametrize(
    ("name", "content", "reason"),
    [
        ("missing.mp4", None, "there is no video file"),
        ("empty.mp4", b"", "is an empty file"),
        ("text.mp4", b"this is a letter\n" * 100, "is no video"),
        ("zeros.avi", bytes(5000), "is no video"),
        ("list.mp4", b"#EXTM3U\n#EXTINF:1,\nfile:///etc/hostname\n", "is no video"),
        ("concat.mp4", b"ffconcat version 1.0\nfile 'other.avi'\n", "is no video"),
    ],
)
def test_what_is_no_video_is_refused(tmp_path, name, content, reason):
    if content is not None:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(DataError, match=reason):
        list(VideoFile(tmp_path / name).samples(0.2))


def test_a_folder_is_no_video(tmp_path):
    with pytest.raises(DataError, match="there is no video file"):
        VideoFile(tmp_path)


def test_a_video_without_frames_is_refused(tmp_path, film):
    content = film.read_bytes()
    (tmp_path / "none.avi").write_bytes(content[: content.index(b"movi") + 4])
    with pytest.raises(DataError, match=r"holds no frame|is no video"):
        list(VideoFile(tmp_path / "none.avi").samples(0.2))


def test_frames_that_are_too_large_are_refused(film, monkeypatch):
    monkeypatch.setattr(footage, "MAX_PIXELS", 1000)
    with pytest.raises(DataError, match="320 x 180"):
        VideoFile(film)


def test_missing_opencv_names_the_extra(film, monkeypatch):
    monkeypatch.setitem(sys.modules, "cv2", None)
    with pytest.raises(MissingExtraError, match=r"pip install 'passerby\[video\]'"):
        VideoFile(film)


def test_the_environment_is_as_before(monkeypatch):
    name = "OPENCV_FFMPEG_CAPTURE_OPTIONS"
    for before in (None, "rtsp_transport;udp"):
        monkeypatch.delenv(name, raising=False) if before is None else monkeypatch.setenv(name, before)
        with files_only():
            assert footage.load_opencv("x") is not None
            assert __import__("os").environ[name] == "protocol_whitelist;file"
        assert __import__("os").environ.get(name) == before


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("rtsp://me:secret@camera.example:554/main?key=1", "rtsp://camera.example:554/main"),
        ("rtsp://camera.example/a@b", "rtsp://camera.example/a@b"),
        ("http://camera.example", "http://camera.example"),
        ("rtsp://me:p@ss@camera.example/x", "rtsp://camera.example/x"),
    ],
)
def test_addresses_are_shown_without_secrets(url, shown):
    assert without_secrets(url) == shown


# -- streams --------------------------------------------------------------------------------------------------------


class Clock:
    def __init__(self):
        self.time, self.waits = 1000.0, []

    def sleep(self, seconds):
        self.waits.append(seconds)
        self.time += seconds

    def now(self):
        return self.time


class Camera:
    """Gives so many frames, a tenth of a second apart, then drops."""

    def __init__(self, clock, frames, opened=True):
        self.clock, self.left, self.opened, self.released = clock, frames, opened, False

    def isOpened(self):
        return self.opened

    def grab(self):
        self.left -= 1
        self.clock.time += 0.1
        return self.left >= 0

    def retrieve(self):
        return True, np.full((8, 8, 3), self.left % 256, np.uint8)

    def get(self, wanted):
        return 10.0

    def release(self):
        self.released = True


def stream(*plan):
    clock, told, made = Clock(), [], []

    def connect(url):
        made.append(Camera(clock, *plan[min(len(made), len(plan) - 1)]))
        return made[-1]

    return Stream("rtsp://me:pw@cam/1", told.append, connect, clock.sleep, clock.now), clock, told, made


def test_a_stream_that_drops_is_opened_again_a_bounded_number_of_times():
    opened, clock, told, made = stream((20,), (20,), (0, False))
    times = [sample.time for sample in opened.samples(0.5)]
    assert len(times) == 8
    assert len(made) == RECONNECTIONS + 1
    assert all(camera.released for camera in made)
    assert clock.waits == [1, 2, 4, 8, 16]
    assert opened.drops == RECONNECTIONS + 1
    assert "rtsp://cam/1 dropped; try 1 of 5 in 1 s" in told
    assert "rtsp://cam/1 is back" in told
    assert told[-1].endswith("it is given up")
    assert not any("pw" in sentence for sentence in told)


def test_a_stream_that_ends_at_once_each_time_is_given_up_too():
    opened, _, _, made = stream((2,))
    assert len(list(opened.samples(0.1))) == 2 * (RECONNECTIONS + 1)
    assert len(made) == RECONNECTIONS + 1


def test_a_minute_of_frames_starts_the_count_anew():
    opened, _, _, made = stream((0, False), (700,), (0, False))
    next_to_all = list(opened.samples(1.0))
    assert len(next_to_all) == 70
    assert len(made) == 2 + RECONNECTIONS


def test_a_stream_that_cannot_be_opened_is_refused():
    opened, _, told, made = stream((0, False))
    with pytest.raises(DataError, match="could not be opened in 6 tries"):
        list(opened.samples(0.5))
    assert len(made) == 6
    assert "cannot be opened" in told[0]


def test_a_stream_stops_when_told():
    opened, clock, told, _ = stream((10_000,))
    times = [sample.time for sample in opened.samples(0.5, stop_after=5)]
    assert len(times) == pytest.approx(10, abs=1)
    assert not told
    assert clock.time < 1006


def test_frames_that_waited_are_stepped_over():
    opened, clock, _, made = stream((100,))
    times = []
    for sample in opened.samples(0.5, stop_after=8):
        times.append(sample.time)
        clock.time += 1.0  # looking takes longer than frames come
    assert made[0].left < 100 - 8 * len(times)


@pytest.fixture
def server():
    """A camera that sends Motion JPEG over HTTP and drops after ten frames."""
    frames = []
    for frame in list(frames_of(footage_scene()))[:10]:
        buffer = io.BytesIO()
        Image.fromarray(frame.image).save(buffer, "JPEG")
        frames.append(buffer.getvalue())

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_response(200)
            self.send_header("Content-Type", "multipart/x-mixed-replace; boundary=frame")
            self.end_headers()
            for frame in frames:
                head = f"--frame\r\nContent-Type: image/jpeg\r\nContent-Length: {len(frame)}\r\n\r\n"
                self.wfile.write(head.encode() + frame + b"\r\n")

        def log_message(self, *_):
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as running:
        thread = threading.Thread(target=running.serve_forever, args=(0.05,))
        thread.start()
        yield f"http://127.0.0.1:{running.server_port}/camera"
        running.shutdown()
        thread.join()


def footage_scene():
    import filmed_street

    return filmed_street.SCENE


def test_a_real_stream_is_read_and_read_again_after_it_drops(server):
    told = []
    opened = Stream(server, told.append, sleep=lambda _: None)
    samples = list(opened.samples(0.001))
    assert len(samples) >= 2 * (RECONNECTIONS + 1)
    assert samples[0].image.shape == (180, 320, 3)
    assert sum("dropped" in sentence for sentence in told) == RECONNECTIONS
