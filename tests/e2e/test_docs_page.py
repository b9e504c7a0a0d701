"""The page of the operations in a real browser: it shows every one, and calls them."""

from __future__ import annotations

import json
import re
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from mfn_core.testing.process import ServerProcess
from mfn_e2e.browser import Page, chromium, opened
from mfn_e2e.deployment import Deployment, tables_with_page

pytestmark = [
    pytest.mark.browser,
    pytest.mark.timeout(180),
    pytest.mark.skipif(chromium() is None, reason="no chromium, chromium-browser or google-chrome on the PATH"),
]

SIMULATE = "mfn.MFNSimulationService.RunSimulation:post"
STREAM = "mfn.MFNSimulationService.StreamSimulation:post"
MODEL = "mfn.v1.ModelService.DescribeModel:get"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    with Deployment(tables_with_page(), tmp_path_factory.mktemp("docs")) as started:
        yield started


@pytest.fixture
async def page(server: ServerProcess, tmp_path: Path) -> AsyncIterator[Page]:
    (link,) = re.findall(r"^open http://([\d.:]+)/(#token=mfnl_[\w-]{43})$", server.stderr_text(), re.MULTILINE)
    async with opened(f"http://{link[0]}/docs{link[1]}", tmp_path) as page:
        await page.until("document.querySelectorAll('details').length > 30")
        yield page


def of(operation: str, rest: str) -> str:
    return f"document.getElementById({operation!r}){rest}"


async def called(page: Page, operation: str) -> str:
    """What is shown once the call is over."""
    await page.run(of(operation, ".open = true"))
    await page.until(of(operation, ".querySelector('form') !== null"))
    await page.run(of(operation, ".querySelector('button[type=submit]').click()"))
    await page.until(of(operation, ".querySelector('button[type=submit]').disabled === false"))
    return str(await page.run(of(operation, ".querySelector('[role=status]').textContent")))


async def shown(page: Page, operation: str) -> str:
    return str(await page.run(of(operation, ".querySelector('pre').textContent")))


async def test_a_call_is_made_with_the_token_of_the_link(page: Page) -> None:
    assert "token" not in await page.run("location.href")
    assert (await called(page, SIMULATE)).startswith("200, ")
    assert json.loads(await shown(page, SIMULATE))["growth_events"] == 14
    assert (await called(page, MODEL)).startswith("200, ")
    assert json.loads(await shown(page, MODEL))["model"]["name"] == "mycelium"
    assert page.log == []


async def test_a_stream_is_shown_line_by_line_and_can_be_cancelled(page: Page) -> None:
    assert (await called(page, STREAM)).startswith("200, ")
    lines = [json.loads(line) for line in (await shown(page, STREAM)).splitlines()]
    assert [line["step"] for line in lines] == list(range(10, 101, 10))
    body = '{"total_steps": 9000, "steps_per_frame": 1, "grid_size": 256}'
    await page.run(of(STREAM, f".querySelector('textarea').value = {body!r}"))
    await page.run(of(STREAM, ".querySelector('button[type=submit]').click()"))
    await page.until(of(STREAM, ".querySelector('pre').textContent.length > 100"))
    await page.run(of(STREAM, ".querySelectorAll('button')[1].click()"))
    await page.until(of(STREAM, ".querySelector('[role=status]').textContent.startsWith('Cancelled')"))


async def test_what_is_wrong_is_shown_as_the_server_says_it(page: Page) -> None:
    await page.run(of(SIMULATE, ".open = true"))
    await page.until(of(SIMULATE, ".querySelector('form') !== null"))
    await page.run(of(SIMULATE, """.querySelector('textarea').value = '{"alpha": 1}'"""))
    assert (await called(page, SIMULATE)).startswith("400, ")
    assert json.loads(await shown(page, SIMULATE))["errors"][0]["field"] == "alpha"
    await page.run("document.getElementById('token').value = ''")
    assert (await called(page, SIMULATE)).startswith("401, ")


async def test_every_type_of_problem_has_its_place_on_the_page(page: Page) -> None:
    for code in ("invalid-argument", "resource-exhausted", "unauthenticated"):
        assert await page.run(f"document.getElementById({code!r}).tagName") == "TR"
