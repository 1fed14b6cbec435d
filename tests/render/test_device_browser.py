"""The device page in a real browser: wide and narrow, light and dark, and silent on the network."""

from pathlib import Path

import pytest

from edge_mtp.render.device_page import device_page
from tests.render import chromium
from tests.render.device_samples import CROWDED, EMPTY, REPORTS
from tests.render.test_browser import BACKGROUND, COLLISIONS, LEAST_TYPE_PX, SCROLL_WIDTH, SMALLEST_TYPE, WIDTHS

SHOWN = {name: REPORTS[name] for name in ("throttling", "paired", "iphone", "all")}
SHOWN |= {"crowded": CROWDED, "empty": EMPTY}

pytestmark = pytest.mark.skipif(
    chromium.PROGRAM is None, reason="needs Chromium: apt-get install --no-install-recommends chromium"
)


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Each sample report as a file."""
    folder = tmp_path_factory.mktemp("pages")
    for name, report in SHOWN.items():
        (folder / f"{name}.html").write_text(device_page(report), encoding="utf-8")
    return {name: folder / f"{name}.html" for name in SHOWN}


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("name", SHOWN)
def test_no_page_scrolls_sideways_and_its_charts_can_be_read(browser, pages, name, width):
    browser.show(pages[name], width, "light")
    assert browser.evaluate(SCROLL_WIDTH) <= width
    assert browser.evaluate(COLLISIONS) == []
    assert browser.evaluate(SMALLEST_TYPE) is None or browser.evaluate(SMALLEST_TYPE) >= LEAST_TYPE_PX


def test_a_chart_that_is_too_wide_or_crowded_would_be_seen(browser, pages):
    browser.show(pages["throttling"], 390, "light")
    assert browser.evaluate("document.querySelector('svg').style.width = '900px'") == "900px"
    assert browser.evaluate(SCROLL_WIDTH) > 390
    assert browser.evaluate("document.querySelectorAll('svg text').forEach(text => text.setAttribute('x', 9))") is None
    assert browser.evaluate(COLLISIONS) != []


@pytest.mark.parametrize("width", (1100, 390))
@pytest.mark.parametrize("scheme", BACKGROUND)
def test_both_themes_are_drawn(browser, pages, scheme, width):
    browser.show(pages["throttling"], width, scheme)
    drawn = chromium.pixels(browser.screenshot(height=800, scale=0.5))
    assert tuple(drawn[2, 2]) == BACKGROUND[scheme]
    ink = (abs(drawn.astype(int) - drawn[2, 2]).max(axis=-1) > 40).mean()
    assert 0.02 < ink < 0.5


@pytest.mark.parametrize("name", SHOWN)
def test_a_page_asks_for_nothing(browser, pages, name):
    browser.show(pages[name], 1100, "light")
    assert browser.requests() == []


def test_the_overview_fits_a_laptop(browser, pages):
    """Its table needs no scrolling where there is room for it."""
    box = "document.querySelector('#overview .scroll')"
    table = f"{box}.scrollWidth - {box}.clientWidth"
    browser.show(pages["all"], 1100, "light")
    assert browser.evaluate(table) <= 0
    browser.show(pages["all"], 390, "light")
    assert browser.evaluate(table) > 0
