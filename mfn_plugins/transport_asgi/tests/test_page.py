"""The files of the live page: what is served, and what the browser is told of them."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import pytest

from mfn_transport_asgi._page import PageProtocol


@pytest.fixture
def page() -> PageProtocol:
    page = PageProtocol()
    page.start()
    return page


async def asked(
    page: PageProtocol, path: bytes, *headers: tuple[bytes, bytes], method: str = "GET"
) -> tuple[int, Mapping[bytes, bytes], bytes]:
    sent: list[Mapping[str, Any]] = []

    async def receive() -> Mapping[str, Any]:
        raise AssertionError("nothing is to be read")

    async def send(message: Mapping[str, Any]) -> None:
        sent.append(message)

    scope = {"type": "http", "method": method, "raw_path": path, "query_string": b"", "headers": list(headers)}
    assert page.claims(scope)
    await page.handle(scope, receive, send)
    start, *bodies = sent
    return start["status"], dict(start["headers"]), b"".join(each["body"] for each in bodies)


@pytest.mark.parametrize("path", [b"/", b"/live.js", b"/live.css", b"/icon.svg"])
async def test_every_file_is_served_with_the_policy_that_lets_in_nothing_else(page: PageProtocol, path: bytes) -> None:
    status, headers, body = await asked(page, path)
    assert status == 200
    assert int(headers[b"content-length"]) == len(body) > 100
    policy = dict(each.strip().split(" ", 1) for each in headers[b"content-security-policy"].decode().split(";"))
    assert policy["default-src"] == policy["base-uri"] == policy["frame-ancestors"] == "'none'"
    assert "unsafe" not in headers[b"content-security-policy"].decode()
    assert headers[b"x-content-type-options"] == b"nosniff"
    assert headers[b"referrer-policy"] == b"no-referrer"


async def test_the_page_needs_nothing_from_elsewhere_and_nothing_in_line(page: PageProtocol) -> None:
    _, _, html = await asked(page, b"/")
    text = html.decode()
    linked = re.findall(r'(?:href|src)="([^"#][^"]*)"', text)
    assert all(page.claims({"raw_path": link.encode()}) for link in linked)
    assert re.findall(r"\sstyle=|\son[a-z]+=|<style|<script(?![^>]*src)", text) == []
    for path in (b"/live.js", b"/live.css"):
        _, _, source = await asked(page, path)
        assert b"://" not in source.replace(b"${scheme}//", b"").replace(b"http://www.w3.org", b"")


async def test_a_browser_that_has_the_file_is_told_so(page: PageProtocol) -> None:
    _, headers, _ = await asked(page, b"/live.js")
    for known in (headers[b"etag"], b'"other", W/' + headers[b"etag"]):
        status, again, body = await asked(page, b"/live.js", (b"if-none-match", known))
        assert (status, body) == (304, b"")
        assert again[b"etag"] == headers[b"etag"]
    status, _, body = await asked(page, b"/live.js", (b"if-none-match", b'"other"'))
    assert status == 200
    assert body


async def test_head_has_no_body_and_nothing_can_be_written(page: PageProtocol) -> None:
    status, headers, body = await asked(page, b"/", method="HEAD")
    assert (status, body) == (200, b"")
    assert int(headers[b"content-length"]) > 0
    status, headers, _ = await asked(page, b"/", method="POST")
    assert (status, headers[b"allow"]) == (405, b"GET, HEAD")


def test_no_other_path_is_its_own(page: PageProtocol) -> None:
    for path in (b"/index.html", b"//", b"/live.js/", b"/../live.js", b"/static/live.js", b""):
        assert not page.claims({"raw_path": path})
