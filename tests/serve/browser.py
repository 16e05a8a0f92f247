"""Headless Chromium through its own DevTools protocol: as much of a driver as the tests of the page need.

A real driver would bring a browser of its own; this needs Debian's package and a WebSocket.
"""

from __future__ import annotations

import base64
import itertools
import json
import os
import re
import shutil
import subprocess
import time

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
_KEYS = {"Enter": ("\r", 13), "Escape": ("", 27), "ArrowRight": ("", 39), "ArrowLeft": ("", 37), "ArrowDown": ("", 40)}
_PATIENCE_S = 300


class Browser:
    """One page of one browser."""

    def __init__(self, folder):
        import websocket

        root = ["--no-sandbox"] if os.geteuid() == 0 else []
        options = [
            "--headless=new",
            "--disable-gpu",
            "--disable-dev-shm-usage",
            "--remote-debugging-port=0",
            "--mute-audio",
        ]
        self._process = subprocess.Popen(
            [CHROMIUM, *options, *root, "--remote-allow-origins=*", f"--user-data-dir={folder}", "about:blank"],
            stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip
        address = next(found[0] for line in self._process.stderr if (found := re.search(r"ws://\S+", line)))
        self._socket = websocket.create_connection(address, timeout=_PATIENCE_S)
        self._numbers = itertools.count(1)
        self._session = None
        self.messages = []
        target = self._call("Target.createTarget", url="about:blank")["targetId"]
        self._session = self._call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "DOM", "Log", "Network"):
            self._call(f"{domain}.enable")

    def close(self):
        self._socket.close()
        self._process.terminate()
        self._process.wait()
        self._process.stderr.close()

    def open(self, address):
        """Go to an address and wait until the page is complete."""
        self.run("window.old = true")
        self._call("Page.navigate", url=address)
        self.arrive()

    def leave(self):
        """Away from the page, so that it asks its service for nothing more."""
        self._call("Page.navigate", url="about:blank")
        self.wait("location.href === 'about:blank'")

    def arrive(self):
        """Wait for another page than the one before, complete."""
        self.wait("!window.old && document.readyState === 'complete' && location.href !== 'about:blank'")

    def run(self, script):
        """The value of an expression in the page."""
        answer = self._call(
            "Runtime.evaluate", expression=script, returnByValue=True, awaitPromise=True, userGesture=True
        )
        assert "exceptionDetails" not in answer, answer["exceptionDetails"]
        return answer["result"].get("value")

    def go(self, script):
        """Run what leads to another page, and wait for that."""
        self.run(f"window.old = true; {script}; 0")
        self.arrive()

    def wait(self, condition):
        """Until an expression is true."""
        ends = time.monotonic() + _PATIENCE_S
        while time.monotonic() < ends:
            answer = self._call("Runtime.evaluate", expression=condition, returnByValue=True)
            if answer.get("result", {}).get("value"):
                return
            time.sleep(0.03)
        raise AssertionError(f"never came true: {condition}")

    def press(self, key):
        """One key, as a keyboard sends it."""
        text, code = _KEYS.get(key, (key, ord(key.upper()[0])))
        named = {"key": key, "windowsVirtualKeyCode": code, "code": key if key in _KEYS else ""}
        self._call("Input.dispatchKeyEvent", type="keyDown", text=text, **named)
        self._call("Input.dispatchKeyEvent", type="keyUp", **named)

    def point_at(self, selector):
        """The mouse over the middle of what a selector finds first."""
        place = f"document.querySelector('{selector}').getBoundingClientRect()"
        x, y = self.run(f"(({{x, y, width, height}}) => [x + width / 2, y + height / 2])({place})")
        self._call("Input.dispatchMouseEvent", type="mouseMoved", x=x, y=y)

    def type(self, text):
        """Letters into what has the focus."""
        self._call("Input.insertText", text=text)

    def choose_file(self, selector, path):
        """A file into an input, as if the visitor had picked it."""
        root = self._call("DOM.getDocument")["root"]["nodeId"]
        node = self._call("DOM.querySelector", nodeId=root, selector=selector)["nodeId"]
        self._call("DOM.setFileInputFiles", files=[str(path)], nodeId=node)

    def drop_file(self, path):
        """A file from outside, let go over the middle of the page, as the system's file manager does."""
        data = {"items": [], "files": [str(path)], "dragOperationsMask": 1}
        for kind in ("dragEnter", "dragOver", "drop"):
            self._call("Input.dispatchDragEvent", type=kind, x=400, y=400, data=data)

    def paste_file(self, encoded):
        """A picture from the clipboard; the clipboard itself is out of a headless page's reach."""
        letters = base64.b64encode(encoded).decode()
        self.run(
            f"""(() => {{
              const bytes = Uint8Array.from(atob("{letters}"), (letter) => letter.charCodeAt(0));
              const box = new DataTransfer();
              box.items.add(new File([bytes], "pasted.jpg", {{ type: "image/jpeg" }}));
              document.activeElement.dispatchEvent(
                new ClipboardEvent("paste", {{ clipboardData: box, bubbles: true, cancelable: true }}));
              return 0;
            }})()"""
        )

    def download(self, script, folder, name):
        """Run what saves a file, and wait for that."""
        self._call("Browser.setDownloadBehavior", behavior="allow", downloadPath=str(folder))
        self.run(f"{script}; 0")
        ends = time.monotonic() + _PATIENCE_S
        while not (folder / name).exists():
            assert time.monotonic() < ends, f"{name} was never saved"
            time.sleep(0.03)
        return (folder / name).read_bytes()

    def uncached(self):
        """Load everything anew each time."""
        self._call("Network.setCacheDisabled", cacheDisabled=True)

    def accept_dialogs(self):
        """Say yes to every question of the page."""
        self.run("window.confirm = () => true; 0")

    def look(self, path, width=1280, height=800, dark=False):
        """A screenshot."""
        self.size(width, height, dark)
        time.sleep(0.3)
        path.write_bytes(base64.b64decode(self._call("Page.captureScreenshot", format="png")["data"]))

    def size(self, width, height, dark=False):
        """The window's size, and which colours its owner prefers."""
        self._call(
            "Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=width < 600
        )
        scheme = [{"name": "prefers-color-scheme", "value": "dark" if dark else "light"}]
        self._call("Emulation.setEmulatedMedia", features=scheme)

    def _call(self, method, **parameters):
        number = next(self._numbers)
        message = {"id": number, "method": method, "params": parameters}
        if self._session:
            message["sessionId"] = self._session
        self._socket.send(json.dumps(message))
        while True:
            answer = json.loads(self._socket.recv())
            if answer.get("id") == number:
                # A page that is being left answers nothing; the question is asked again.
                return answer.get("result", {})
            self.messages.append(answer)
