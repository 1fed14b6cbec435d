"""Headless Chromium on a pipe: what a page looks like, how wide it is, and what it asks of the network.

The protocol is https://chromedevtools.github.io/devtools-protocol/: JSON messages ended by a NUL, the browser reading
on file descriptor 3 and writing on 4.
"""

import json
import os
import select
import shutil
import struct
import subprocess
import time
import zlib
from base64 import b64decode
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

PROGRAM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
OPTIONS = (
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync", "--disable-extensions",
    "--hide-scrollbars", "--remote-debugging-pipe",
)  # fmt: skip
PATIENCE_S = 60.0


@dataclass
class Browser:
    """A running browser with one tab; `events` are those of the tab that nobody has taken yet."""

    to_browser: int
    from_browser: int
    session: str = ""
    events: list[dict[str, Any]] = field(default_factory=list)
    last_id: int = 0
    rest: bytes = b""

    def call(self, method: str, **parameters: Any) -> dict[str, Any]:
        """The answer to one command; events that come meanwhile are kept."""
        self.last_id += 1
        message = {"id": self.last_id, "method": method, "params": parameters}
        if self.session:
            message["sessionId"] = self.session
        os.write(self.to_browser, json.dumps(message).encode() + b"\0")
        while True:
            answer = self._next()
            if answer.get("id") != self.last_id:
                self.events.append(answer)
                continue
            assert "error" not in answer, f"{method}: {answer['error']}"
            return answer["result"]

    def wait_for(self, event: str) -> None:
        """Returns once the tab has told of `event`."""
        while not any(known.get("method") == event for known in self.events):
            self.events.append(self._next())

    def evaluate(self, expression: str) -> Any:
        """The value of a JavaScript expression in the page, promises awaited."""
        answer = self.call("Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in answer, answer
        return answer["result"].get("value")

    def show(self, page: Path, width: int, scheme: str) -> None:
        """Load a file in a window of `width` CSS pixels with the colour scheme "light" or "dark"."""
        self.events.clear()
        self.call(
            "Emulation.setDeviceMetricsOverride", width=width, height=800, deviceScaleFactor=1, mobile=width < 600
        )
        self.call("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": scheme}])
        self.call("Page.navigate", url=page.resolve().as_uri())
        self.wait_for("Page.loadEventFired")
        self.evaluate("new Promise(done => requestAnimationFrame(() => requestAnimationFrame(() => done(0))))")

    def requests(self) -> list[str]:
        """Addresses the page asked for since `show`, its own file left out."""
        urls = [
            known["params"]["request"] for known in self.events if known.get("method") == "Network.requestWillBeSent"
        ]
        return [request["url"] for request in urls if not request["url"].startswith("file:")]

    def blocked(self) -> list[str]:
        """Why requests since `show` were not let out, one reason for each."""
        failed = [known["params"] for known in self.events if known.get("method") == "Network.loadingFailed"]
        return [failure["blockedReason"] for failure in failed if "blockedReason" in failure]

    def screenshot(self, height: float | None = None, scale: float = 1.0) -> bytes:
        """The page as PNG, from its top down to `height` CSS pixels, all of it without."""
        size = self.call("Page.getLayoutMetrics")["cssContentSize"]
        clip = {"x": 0, "y": 0, "width": size["width"], "height": height or size["height"], "scale": scale}
        return b64decode(self.call("Page.captureScreenshot", captureBeyondViewport=True, clip=clip)["data"])

    def _next(self) -> dict[str, Any]:
        end = time.monotonic() + PATIENCE_S
        while b"\0" not in self.rest:
            ready, _, _ = select.select([self.from_browser], [], [], max(0.0, end - time.monotonic()))
            assert ready, f"Chromium said nothing for {PATIENCE_S} s"
            read = os.read(self.from_browser, 1 << 20)
            assert read, "Chromium ended"
            self.rest += read
        message, _, self.rest = self.rest.partition(b"\0")
        return json.loads(message)


def pixels(png: bytes) -> np.ndarray:
    """A browser's 8-bit RGB or RGBA screenshot -> [height, width, 3] uint8; https://www.w3.org/TR/png-3/#9Filters."""
    width, height, depth, kind = struct.unpack(">IIBB", png[16:26])
    assert png[:8] == b"\x89PNG\r\n\x1a\n" and depth == 8 and kind in (2, 6)
    step = 3 if kind == 2 else 4
    rows = np.frombuffer(zlib.decompress(_image_data(png)), np.uint8).reshape(height, 1 + width * step)
    image = np.zeros((height + 1, width + 1, step), np.int32)
    for y, row in enumerate(rows, 1):
        image[y, 1:] = row[1:].reshape(width, step)
        _unfilter(image, y, int(row[0]))
    return image[1:, 1:, :3].astype(np.uint8)


def _image_data(png: bytes) -> bytes:
    data, at = b"", 8
    while at < len(png):
        length, name = struct.unpack(">I4s", png[at : at + 8])
        data += png[at + 8 : at + 8 + length] if name == b"IDAT" else b""
        at += 12 + length
    return data


def _unfilter(image: np.ndarray, y: int, kind: int) -> None:
    """Add to row `y` what its filter predicts from the left, above and above left; the borders are zero."""
    for x in range(1, image.shape[1]):
        left, above, corner = image[y, x - 1], image[y - 1, x], image[y - 1, x - 1]
        if kind == 1:
            predicted = left
        elif kind == 2:
            predicted = above
        elif kind == 3:
            predicted = (left + above) // 2
        elif kind == 4:
            guess = left + above - corner
            far = [abs(guess - near) for near in (left, above, corner)]
            nearest = np.where(far[1] <= far[2], above, corner)
            predicted = np.where((far[0] <= far[1]) & (far[0] <= far[2]), left, nearest)
        else:
            return
        image[y, x] = (image[y, x] + predicted) % 256


@contextmanager
def running(profile: Path) -> Iterator[Browser]:
    """A browser with its profile in `profile`, ended on the way out."""
    assert PROGRAM is not None
    browser_reads, to_browser = os.pipe()
    from_browser, browser_writes = os.pipe()
    # Pipes get whatever numbers are free; the shell moves them to the ones Chromium expects.
    command = f'exec "$@" 3<&{browser_reads} 4>&{browser_writes}'
    arguments = ["bash", "-c", command, "bash", PROGRAM, *OPTIONS, f"--user-data-dir={profile}", "about:blank"]
    process = subprocess.Popen(
        arguments, pass_fds=(browser_reads, browser_writes), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    os.close(browser_reads)
    os.close(browser_writes)
    try:
        browser = Browser(to_browser, from_browser)
        target = browser.call("Target.createTarget", url="about:blank")["targetId"]
        browser.session = browser.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Network", "Runtime"):
            browser.call(f"{domain}.enable")
        yield browser
    finally:
        # A closed pipe ends Chromium with all its processes.
        os.close(to_browser)
        process.wait(timeout=PATIENCE_S)
        os.close(from_browser)
