"""The live page in a real browser: what it shows, what steering does to it, and what it lets one take away."""

from __future__ import annotations

import asyncio
import io
import json
import os
import re
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import numpy as np
import pytest

from mfn_core.testing.process import ServerProcess
from mfn_e2e.browser import Page, chromium, opened
from mfn_e2e.deployment import Deployment, tables_with_page

pytestmark = [
    pytest.mark.browser,
    pytest.mark.timeout(180),
    pytest.mark.skipif(chromium() is None, reason="no chromium, chromium-browser or google-chrome on the PATH"),
]

STEP = "Number(document.getElementById('step').textContent)"
STATUS = "document.getElementById('status').dataset.state"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    with Deployment(tables_with_page(), tmp_path_factory.mktemp("page")) as started:
        yield started


def link(server: ServerProcess) -> str:
    """What the server printed for the person who started it."""
    (found,) = re.findall(r"^open (http://127\.0\.0\.1:\d+/#token=mfnl_[\w-]{43})$", server.stderr_text(), re.MULTILINE)
    return str(found)


@pytest.fixture
async def page(server: ServerProcess, tmp_path: Path) -> AsyncIterator[Page]:
    async with opened(link(server), tmp_path) as page:
        await page.until(f"{STATUS} === 'ready'")
        yield page


async def pixels(page: Page) -> bytes:
    """What the field's canvas shows."""
    return bytes(
        await page.run(
            "(() => { const c = document.getElementById('field');"
            " return [...c.getContext('2d').getImageData(0, 0, c.width, c.height).data]; })()"
        )
    )


async def setting(page: Page, name: str, value: str) -> None:
    await page.run(
        f"(() => {{ const e = document.getElementById({name!r}); e.value = {value!r};"
        " e.dispatchEvent(new Event('input')); e.dispatchEvent(new Event('change')); })()"
    )


async def downloaded(page: Page, button: str, directory: Path) -> bytes:
    """The file that a button saves."""
    await page.click(button)
    ending = button.removeprefix("#")
    async with asyncio.timeout(20):
        while not (found := [file for file in directory.glob(f"mycelium-*.{ending}") if file.stat().st_size]):
            await asyncio.sleep(0.02)  # the browser writes it: it can only be looked for
    return found[0].read_bytes()


async def test_the_link_lets_one_in_and_leaves_no_token_in_the_address(page: Page, server: ServerProcess) -> None:
    assert await page.run("location.href") == f"http://{server.address('asgi')}/"
    assert await page.run("document.getElementById('entry').hidden")
    models = await page.run("[...document.getElementById('model').options].map(o => o.value)")
    assert {"mycelium", "gray_scott"} <= set(models)
    assert page.log == []


async def test_the_field_grows_and_so_do_the_curves(page: Page) -> None:
    await page.click("#grow")
    await page.until(f"{STEP} > 5 && {STATUS} === 'growing'")
    first, picture = await pixels(page), await page.screenshot()
    points = "Number(document.getElementById('curve-mean').dataset.points)"
    before = await page.run(points)
    await page.until(f"{STEP} > 40")
    assert len(set(first)) > 20, "the field is of one colour"
    assert await pixels(page) != first
    assert await page.screenshot() != picture
    assert await page.run(points) > before
    assert await page.run("document.getElementById('unit').textContent") == "mV"
    mean = await page.run("document.getElementById('now-mean').textContent")
    assert re.fullmatch(r"−\d+(\.\d+)? mV", mean)
    assert page.log == []


async def test_a_touch_shows_within_200_ms(page: Page) -> None:
    await page.click("#grow")
    await page.until(f"{STEP} > 5")
    await page.run("document.getElementById('field').scrollIntoView({block: 'center'})")
    elapsed = await page.run(
        """new Promise((done, fail) => {
          const field = document.getElementById('field'), context = field.getContext('2d');
          const at = () => context.getImageData(64, 64, 1, 1).data.slice(0, 3).reduce((a, b) => a + b);
          const box = field.getBoundingClientRect(), before = at(), began = performance.now();
          const place = {clientX: box.left + box.width * 64.5 / 128, clientY: box.top + box.height * 64.5 / 128};
          field.setPointerCapture = () => {};
          field.dispatchEvent(new PointerEvent('pointerdown', {...place, pointerId: 1, bubbles: true}));
          const look = () => {
            if (Math.abs(at() - before) > 150) done(performance.now() - began);
            else if (performance.now() - began > 3000) fail(new Error('nothing to be seen'));
            else requestAnimationFrame(look);
          };
          look();
        })"""
    )
    assert elapsed < 200, f"{elapsed:.0f} ms"


async def test_it_is_paused_steered_and_stopped(page: Page) -> None:
    await page.click("#grow")
    await page.until(f"{STEP} > 5")
    await page.click("#pause")
    await page.until(f"{STATUS} === 'paused'")
    await asyncio.sleep(0.3)  # frames that were under way
    held = await page.run(STEP)
    await asyncio.sleep(0.3)  # that nothing comes can only be waited for
    assert await page.run(STEP) == held
    await setting(page, "parameter-spike_probability", "1")
    await page.click("#pause")
    await page.until(f"{STEP} > {held} + 20")
    events = "Number(document.getElementById('now-events').textContent)"
    step, count = await page.run(f"[{STEP}, {events}]")
    await page.until(f"{STEP} > {step} + 30")
    later, more = await page.run(f"[{STEP}, {events}]")
    assert more - count == later - step, "with probability 1 every step has a growth event"
    assert not await page.run("document.getElementById('call-note').hidden")
    await page.click("#stop")
    await page.until(f"{STATUS} === 'ready'")
    assert await page.run("document.getElementById('notice').hidden")


async def test_the_keyboard_is_enough(page: Page) -> None:
    await page.run("document.getElementById('grow').focus()")
    await page.press("Enter", 13, "\r")
    await page.until(f"{STEP} > 5")
    await page.run("document.getElementById('field').focus()")
    await page.press("ArrowRight", 39)
    await page.press("ArrowDown", 40)
    cell = await page.run("document.getElementById('cell').textContent")
    assert cell.startswith("row 65, column 65: "), cell
    assert not await page.run("document.getElementById('mark').hidden")
    await page.press("Enter", 13, "\r")
    await page.until("!document.getElementById('call-note').hidden")


async def test_what_is_taken_away_is_what_mfn_simulate_gives(page: Page, tmp_path: Path) -> None:
    await setting(page, "grid", "32")
    await setting(page, "seed", "7")
    await setting(page, "total", "25")
    await page.click("#grow")
    await page.until(f"{STEP} === 25 && {STATUS} === 'ready'")
    call = await page.run("document.getElementById('call').textContent")
    words = call.replace("\\\n", " ").split()
    assert words[:2] == ["mfn", "simulate"]
    words[words.index("--save") + 1] = str(tmp_path / "expected.npy")
    command = [sys.executable, "-m", "mfn_core", *words[1:]]
    done = await asyncio.to_thread(subprocess.run, command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    expected = np.load(tmp_path / "expected.npy")
    got = np.load(io.BytesIO(await downloaded(page, "#npy", tmp_path)))
    assert got.dtype == expected.dtype
    assert np.array_equal(got, expected)
    table = (await downloaded(page, "#csv", tmp_path)).decode()
    rows = [[float(cell) for cell in row.split(",")] for row in table.splitlines()]
    assert np.array_equal(np.array(rows), expected)
    picture = await downloaded(page, "#png", tmp_path)
    assert picture[:8] == b"\x89PNG\r\n\x1a\n"
    assert int.from_bytes(picture[16:20], "big") == 1024


async def test_the_call_is_shown_in_three_forms(page: Page) -> None:
    for form, beginning in (
        ("python", "import mfn"),
        ("curl", "curl -s http://127.0.0.1:"),
        ("mfn", "mfn simulate --model mycelium"),
    ):
        await page.click(f"#tab-{form}")
        assert (await page.run("document.getElementById('call').textContent")).startswith(beginning)
        assert await page.run(f"document.getElementById('tab-{form}').getAttribute('aria-selected')") == "true"


async def test_the_call_for_curl_works_as_it_is_shown(page: Page) -> None:
    await setting(page, "grid", "32")
    await setting(page, "total", "20")
    await page.click("#tab-curl")
    call = await page.run("document.getElementById('call').textContent")
    environment = {**os.environ, "MFN_TOKEN": await page.run("sessionStorage.getItem('token')")}
    command = ["sh", "-c", call]
    done = await asyncio.to_thread(
        subprocess.run, command, capture_output=True, text=True, timeout=60, check=False, env=environment
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout.splitlines()[-1])["frame"]["step"] in (20, "20"), done.stdout


async def test_a_lost_connection_is_taken_up_again_and_the_run_goes_on(page: Page) -> None:
    await page.click("#grow")
    await page.until(f"{STEP} > 5")
    # The browser's own end of the network: every socket breaks.
    await page.send("Network.enable")
    await page.run(
        "(() => { const open = WebSocket.prototype.send; let once = true; WebSocket.prototype.send = function (m) {"
        " if (once) { once = false; this.close(); } else open.call(this, m); }; })()"
    )
    await page.click("#field")
    await page.until(f"{STATUS} === 'lost'")
    step = await page.run(STEP)
    await page.until(f"{STATUS} === 'growing' && {STEP} > {step} + 10")


async def test_without_a_token_the_page_asks_for_one(server: ServerProcess, tmp_path: Path) -> None:
    async with opened(link(server).partition("#")[0], tmp_path) as page:
        await page.until("!document.getElementById('grow').disabled || !document.getElementById('entry').hidden")
        await page.until("!document.getElementById('entry').hidden")
        token = json.loads((server.directory / "token.json").read_text())["token"]
        await page.run(f"document.getElementById('token').value = {token!r}")
        await page.click("#entry button")
        await page.until(f"{STATUS} === 'ready' && document.getElementById('entry').hidden")


async def test_a_wrong_token_is_said_plainly(server: ServerProcess, tmp_path: Path) -> None:
    async with opened(link(server)[:-6] + "aaaaaa", tmp_path) as page:
        await page.until("!document.getElementById('entry').hidden")
        assert "not valid" in await page.run("document.getElementById('notice').textContent")
        assert await page.run("sessionStorage.length") == 0


async def test_dark_light_and_a_phone(server: ServerProcess, tmp_path: Path) -> None:
    ground = "getComputedStyle(document.body).backgroundColor"
    for number, dark in enumerate((False, True)):
        directory = tmp_path / str(number)
        directory.mkdir()
        async with opened(link(server), directory, dark=dark, size=(360, 740), phone=True) as page:
            await page.until(f"{STATUS} === 'ready'")
            level = int(re.findall(r"\d+", await page.run(ground))[0])
            assert (level < 64) == dark
            await page.click("#theme")
            assert (int(re.findall(r"\d+", await page.run(ground))[0]) < 64) != dark
            assert await page.run("document.documentElement.scrollWidth <= 360"), "it scrolls sideways"
            small = await page.run(
                "[...document.querySelectorAll('button, select, input:not([type=checkbox]):not([type=range])')]"
                ".filter(e => e.offsetParent && e.offsetHeight < 40).map(e => e.id)"
            )
            assert small == []
