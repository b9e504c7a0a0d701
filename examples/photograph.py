"""A picture of the live page, taken by a Chromium that nobody sees.

The browser is driven over a pair of pipes, by its own protocol: https://chromedevtools.github.io/devtools-protocol/.
"""

from __future__ import annotations

import base64
import fcntl
import json
import os
import select
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

__all__ = ["BROWSERS", "find_browser", "photograph"]

BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
SIZE = (1280, 900)
STEPS = 60
"""Steps of growth after which the page is worth a picture."""

# The browser reads from descriptor 3 and writes to 4.
_WITH_PIPES = (
    "import os, sys; os.dup2(int(sys.argv[1]), 3); os.dup2(int(sys.argv[2]), 4); os.execv(sys.argv[3], sys.argv[3:])"
)
_GROW = f"""new Promise((grown, failed) => {{
  const end = performance.now() + 15000, of = (id) => document.getElementById(id);
  const look = () => {{
    if (Number(of("step").textContent) >= {STEPS}) grown(true);
    else if (performance.now() > end) {{
      failed(new Error(`${{of("status").textContent}} ${{of("notice").textContent.trim()}}`));
    }} else {{
      if (of("status").dataset.state === "ready") of("grow").click();
      setTimeout(look, 20);
    }}
  }};
  look();
}})"""


def find_browser() -> str | None:
    """Path of a Chromium; None where there is none."""
    return next((found for name in BROWSERS if (found := shutil.which(name))), None)


def photograph(url: str, picture: Path, *, browser: str, seconds: float = 25.0) -> None:
    """Open the live page, let a field grow for a moment, and write what is seen to `picture`, a PNG.

    Raises:
        OSError: the browser cannot be started, or the picture not be written.
        RuntimeError: the browser ended early, or the page did not do what it should; says what.
        TimeoutError: it all took longer than `seconds`.
    """
    with _open(browser, time.monotonic() + seconds) as tab:
        width, height = SIZE
        tab.call("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=False)
        tab.call("Page.navigate", url=url)
        # The page is there once it has the element; what is evaluated before that sees the empty one.
        while not tab.evaluate("document.readyState === 'complete' && document.getElementById('grow') !== null"):
            time.sleep(0.05)
        tab.evaluate(_GROW)
        picture.write_bytes(base64.b64decode(tab.call("Page.captureScreenshot", format="png")["data"]))


class _Tab:
    """One page of a browser."""

    def __init__(self, reading: int, writing: int, deadline: float) -> None:
        self._reading = reading
        self._writing = writing
        self._deadline = deadline
        self._number = 0
        self._received = b""
        self._session: dict[str, str] = {}
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        attached = self.call("Target.attachToTarget", targetId=target, flatten=True)
        self._session = {"sessionId": attached["sessionId"]}

    def call(self, method: str, **parameters: Any) -> dict[str, Any]:
        """Call a method of the protocol."""
        self._number += 1
        message = {"id": self._number, "method": method, "params": parameters, **self._session}
        try:
            os.write(self._writing, json.dumps(message).encode() + b"\0")
        except BrokenPipeError:
            raise RuntimeError("the browser ended") from None
        while True:
            reply = self._next()
            if reply.get("id") != self._number:
                continue  # an event
            if "error" in reply:
                raise RuntimeError(f"{method}: {reply['error']['message']}")
            result: dict[str, Any] = reply["result"]
            return result

    def evaluate(self, script: str) -> Any:
        """What an expression is in the page, once it has settled."""
        result = self.call("Runtime.evaluate", expression=script, awaitPromise=True, returnByValue=True)
        if "exceptionDetails" in result:
            thrown = result["exceptionDetails"].get("exception", {}).get("description", "the page failed")
            raise RuntimeError(thrown.splitlines()[0])
        return result["result"].get("value")

    def _next(self) -> Any:
        while b"\0" not in self._received:
            left = self._deadline - time.monotonic()
            if left <= 0 or not select.select([self._reading], [], [], left)[0]:
                raise TimeoutError("the browser took too long")
            more = os.read(self._reading, 1 << 20)
            if not more:
                raise RuntimeError("the browser ended")
            self._received += more
        message, _, self._received = self._received.partition(b"\0")
        return json.loads(message)


@contextmanager
def _open(browser: str, deadline: float) -> Iterator[_Tab]:
    """A browser with a profile of its own, for as long as the block runs."""
    words = ["--headless=new", "--remote-debugging-pipe", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run"]
    words += ["--disable-extensions", "--disable-background-networking", "--disable-sync"]
    if os.geteuid() == 0:
        words.append("--no-sandbox")  # Chromium has none for root, and refuses to start with it
    ends = [*os.pipe(), *os.pipe()]
    high = [fcntl.fcntl(end, fcntl.F_DUPFD_CLOEXEC, 10) for end in ends]  # above 3 and 4
    for end in ends:
        os.close(end)
    to_read, to_write, reading, their_end = high
    with tempfile.TemporaryDirectory(prefix="mfn-browser-", ignore_cleanup_errors=True) as profile:
        process = subprocess.Popen(  # noqa: S603 - a browser that is installed
            [
                *(sys.executable, "-c", _WITH_PIPES, str(to_read), str(their_end)),
                *(browser, *words, f"--user-data-dir={profile}", "about:blank"),
            ],
            pass_fds=(to_read, their_end),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        os.close(to_read)
        os.close(their_end)
        try:
            yield _Tab(reading, to_write, deadline)
        finally:
            os.close(to_write)  # it ends when its pipe does
            os.close(reading)
            try:
                process.wait(timeout=5)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
