"""The documentation page in a real browser, without internet."""

from __future__ import annotations

import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from urllib.parse import urlsplit

import pytest
from playwright.async_api import Page, Route, async_playwright

from e2e.conftest import PASSWORD, Serve

FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking"]


@asynccontextmanager
async def browser_page(*, bypass_policy: bool = False) -> AsyncIterator[Page]:
    program = shutil.which("chromium")
    assert program is not None, "chromium is missing: install Debian's package chromium."
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=program, args=FLAGS)
        try:
            page = await browser.new_page(bypass_csp=bypass_policy)
            page.set_default_timeout(20_000)
            yield page
        finally:
            await browser.close()


async def hosts_asked(page: Page, ours: str) -> set[str]:
    """Fills with the other hosts that the page sends requests to; they are caught before they leave."""
    hosts: set[str] = set()

    async def catch(route: Route) -> None:
        hosts.add(urlsplit(route.request.url).netloc)
        await route.abort()

    await page.route(lambda url: not url.startswith((ours, "data:", "blob:")), catch)
    return hosts


async def test_a_person_signs_in_on_the_docs_page_and_sends_a_request_and_nothing_leaves_for_another_host(
    serve: Serve,
) -> None:
    slipway = serve(debug="true")
    async with browser_page() as page:
        elsewhere = await hosts_asked(page, slipway.base)
        await page.goto(f"{slipway.base}/docs")
        await page.get_by_role("button", name="Authorize").first.click()
        await page.locator("#oauth_username, input[name=username]").first.fill("admin@example.com")
        await page.locator("#oauth_password, input[name=password]").first.fill(PASSWORD)
        await page.locator(".auth-container button.authorize").first.click()
        await page.get_by_role("button", name="Logout").first.wait_for()
        await page.locator(".btn-done").first.click()
        operation = page.locator("[id$=read_me]")
        await operation.locator(".opblock-summary-control").click()
        await operation.get_by_role("button", name="Try it out").click()
        await operation.get_by_role("button", name="Execute").click()
        answer = operation.locator(".live-responses-table .response").first
        await answer.wait_for()
        shown = await answer.inner_text()
        assert "200" in shown
        assert "admin@example.com" in shown
        assert elsewhere == set()


@pytest.mark.parametrize("path", ["/docs", "/redoc"])
async def test_pages_come_from_local_files_only(serve: Serve, path: str) -> None:
    slipway = serve(debug="true")
    async with browser_page() as page:
        elsewhere = await hosts_asked(page, slipway.base)
        await page.goto(slipway.base + path)
        await page.get_by_text("Create an item").first.wait_for(state="attached")
        assert elsewhere == set()


async def test_without_debug_there_are_no_pages(serve: Serve) -> None:
    import httpx  # noqa: PLC0415

    slipway = serve()
    for path in ("/docs", "/redoc", "/static-offline-docs/swagger-ui.css"):
        assert httpx.get(slipway.base + path).status_code == 404


async def test_without_the_policy_a_page_would_load_something_from_elsewhere(serve: Serve) -> None:
    """Negative control: the page's policy ignored by the browser."""
    slipway = serve(debug="true")
    async with browser_page(bypass_policy=True) as page:
        elsewhere = await hosts_asked(page, slipway.base)
        async with page.expect_event("requestfailed"):
            await page.goto(f"{slipway.base}/redoc")
        assert elsewhere
