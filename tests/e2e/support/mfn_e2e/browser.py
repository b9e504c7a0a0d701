"""A headless Chromium, driven over its own protocol (https://chromedevtools.github.io/devtools-protocol/)."""

from __future__ import annotations

import asyncio
import base64
import json
import shutil
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import websockets

__all__ = ["Page", "chromium", "opened"]

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")


def chromium() -> str | None:
    """Path of a Chromium; None where there is none."""
    return next((found for name in NAMES if (found := shutil.which(name))), None)


class Page:
    """One tab."""

    def __init__(self, socket: Any) -> None:
        self._socket = socket
        self._number = 0
        self._replies: dict[int, asyncio.Future[Any]] = {}
        self.log: list[str] = []
        """What the page wrote to its console, and what it could not load."""
        self._reading = asyncio.create_task(self._read())

    async def _read(self) -> None:
        async for raw in self._socket:
            message = json.loads(raw)
            if "id" in message:
                self._replies.pop(message["id"]).set_result(message)
            elif message["method"] == "Runtime.exceptionThrown":
                self.log.append(json.dumps(message["params"]["exceptionDetails"])[:2000])
            elif message["method"] == "Log.entryAdded":
                entry = message["params"]["entry"]
                if "willReadFrequently" in entry["text"]:
                    continue  # of the tests, which read what the page only draws
                self.log.append(f"{entry['level']}: {entry['text']} {entry.get('url', '')}")

    async def send(self, method: str, **params: Any) -> Any:
        """Call a method of the protocol."""
        self._number += 1
        reply = self._replies[self._number] = asyncio.get_running_loop().create_future()
        await self._socket.send(json.dumps({"id": self._number, "method": method, "params": params}))
        message = await asyncio.wait_for(reply, 30)
        if "error" in message:
            raise RuntimeError(f"{method}: {message['error']['message']}")
        return message["result"]

    async def run(self, script: str) -> Any:
        """What an expression is, once it has settled."""
        result = await self.send("Runtime.evaluate", expression=script, awaitPromise=True, returnByValue=True)
        if "exceptionDetails" in result:
            raise RuntimeError(json.dumps(result["exceptionDetails"])[:2000])
        return result["result"].get("value")

    async def until(self, script: str, seconds: float = 20.0) -> Any:
        """Wait in the page until an expression is true, looking at every frame that it draws."""
        return await self.run(
            "new Promise((done, fail) => {"
            f" const end = performance.now() + {seconds * 1000:.0f}, text = {json.dumps(script)};"
            f" const look = () => {{ const found = ({script}); if (found) done(found);"
            " else if (performance.now() > end) fail(new Error('not so in time: ' + text));"
            " else setTimeout(look, 5); };"
            " look(); })"
        )

    async def click(self, selector: str) -> None:
        """A real click in the middle of an element."""
        await self.run(f"document.querySelector({json.dumps(selector)}).scrollIntoView({{block: 'center'}})")
        x, y = await self.run(
            f"(() => {{ const b = document.querySelector({json.dumps(selector)}).getBoundingClientRect();"
            " return [b.left + b.width / 2, b.top + b.height / 2]; })()"
        )
        for kind in ("mousePressed", "mouseReleased"):
            await self.send("Input.dispatchMouseEvent", type=kind, x=x, y=y, button="left", buttons=1, clickCount=1)

    async def press(self, key: str, code: int, text: str = "") -> None:
        """A key, down and up."""
        for kind in ("keyDown", "keyUp"):
            await self.send(
                "Input.dispatchKeyEvent",
                type=kind,
                key=key,
                windowsVirtualKeyCode=code,
                text=text if kind == "keyDown" else "",
            )

    async def screenshot(self) -> bytes:
        """The page as PNG."""
        return base64.b64decode((await self.send("Page.captureScreenshot", format="png"))["data"])

    async def close(self) -> None:
        self._reading.cancel()
        await asyncio.gather(self._reading, return_exceptions=True)


@asynccontextmanager
async def opened(
    url: str,
    directory: Path,
    *,
    size: tuple[int, int] = (1280, 900),
    dark: bool = False,
    phone: bool = False,
    flags: Sequence[str] = (),
) -> AsyncIterator[Page]:
    """A browser of its own with one page; downloads go to `directory`."""
    program = chromium()
    if program is None:
        raise RuntimeError("no Chromium on the PATH")
    profile = directory / "profile"
    process = await asyncio.create_subprocess_exec(
        program,
        *("--headless=new", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-extensions"),
        *("--disable-background-networking", "--disable-component-update", "--disable-sync", "--disable-dev-shm-usage"),
        *("--remote-debugging-port=0", f"--user-data-dir={profile}", *flags, "about:blank"),
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        assert process.stderr is not None
        address = b""
        async with asyncio.timeout(30):
            while b"DevTools listening on" not in address:
                address = await process.stderr.readline()
                assert address, "Chromium ended before it listened"
        draining = asyncio.create_task(process.stderr.read())
        base = address.decode().split()[-1]
        async with websockets.connect(base, max_size=None, proxy=None) as browser:
            root = Page(browser)
            target = (await root.send("Target.createTarget", url="about:blank"))["targetId"]
            host = base.split("/devtools/")[0]
            async with websockets.connect(f"{host}/devtools/page/{target}", max_size=None, proxy=None) as tab:
                page = Page(tab)
                await page.send("Page.enable")
                await page.send("Runtime.enable")
                await page.send("Log.enable")
                width, height = size
                await page.send(
                    "Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=phone
                )
                scheme = [{"name": "prefers-color-scheme", "value": "dark" if dark else "light"}]
                await page.send("Emulation.setEmulatedMedia", features=scheme)
                await page.send("Browser.setDownloadBehavior", behavior="allow", downloadPath=str(directory))
                await page.send("Page.navigate", url=url)
                await page.until("document.readyState === 'complete' && location.href !== 'about:blank'")
                yield page
                await page.close()
            await root.close()
        draining.cancel()
        await asyncio.gather(draining, return_exceptions=True)
    finally:
        process.terminate()
        await process.wait()
