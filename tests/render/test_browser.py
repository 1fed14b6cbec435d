"""The page in a real browser: wide and narrow, light and dark, and silent on the network."""

import re
from pathlib import Path

import pytest

from edge_mtp.render.parity_page import parity_page
from tests.render import chromium
from tests.render.crowded import CROWDED
from tests.render.samples import FAILED, REPORTS, parsed

SHOWN = REPORTS | {"crowded": CROWDED}
WIDTHS = (1100, 768, 390, 360)
BACKGROUND = {"light": (0xFD, 0xFD, 0xFB), "dark": (0x16, 0x18, 0x1B)}
LEAST_TYPE_PX = 9.0

# Not compared with innerWidth: on a phone too wide a page widens that as well.
SCROLL_WIDTH = "document.documentElement.scrollWidth"
POLICY = r"<meta http-equiv[^>]*>"
SMALLEST_TYPE = """Math.min(...[...document.querySelectorAll('svg text')].map(text =>
  parseFloat(getComputedStyle(text).fontSize) * text.getScreenCTM().a))"""
COLLISIONS = """[...document.querySelectorAll('svg')].flatMap(svg => {
  const texts = [...svg.querySelectorAll('text')].map(text => [text.textContent, text.getBoundingClientRect()]);
  const meet = (a, b) => a.left < b.right && b.left < a.right && a.top < b.bottom && b.top < a.bottom;
  return texts.flatMap(([one, a], i) =>
    texts.slice(i + 1).filter(([, b]) => meet(a, b)).map(([two]) => one + '|' + two));
})"""
HOSTILE = '<img src="http://127.0.0.1:9/x.png"><script>document.title = "ran"</script>'

pytestmark = pytest.mark.skipif(
    chromium.PROGRAM is None, reason="needs Chromium: apt-get install --no-install-recommends chromium"
)


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Each sample report as a file."""
    folder = tmp_path_factory.mktemp("pages")
    for name, report in SHOWN.items():
        (folder / f"{name}.html").write_text(parity_page(parsed(report)), encoding="utf-8")
    return {name: folder / f"{name}.html" for name in SHOWN}


def spoilt(page: Path, folder: Path, *changes: tuple[str, str]) -> Path:
    """A copy of the page with each pattern replaced once."""
    html = page.read_text(encoding="utf-8")
    for pattern, replacement in changes:
        html, count = re.subn(pattern, lambda _, new=replacement: new, html, count=1, flags=re.DOTALL)
        assert count == 1, pattern
    copy = folder / "spoilt.html"
    copy.write_text(html, encoding="utf-8")
    return copy


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("name", SHOWN)
def test_no_page_scrolls_sideways_and_its_charts_can_be_read(browser, pages, name, width):
    browser.show(pages[name], width, "light")
    assert browser.evaluate(SCROLL_WIDTH) <= width
    assert browser.evaluate(COLLISIONS) == []
    assert browser.evaluate(SMALLEST_TYPE) is None or browser.evaluate(SMALLEST_TYPE) >= LEAST_TYPE_PX


def test_overflow_small_type_and_collisions_would_be_seen(browser, pages, tmp_path):
    wide = "<style>svg text { font-size: 3px !important; } h1 { width: 900px; }</style>"
    page = spoilt(pages["held"], tmp_path, (POLICY, ""), ("</style>", "</style>" + wide))
    browser.show(page, 390, "light")
    assert browser.evaluate(SCROLL_WIDTH) >= 900
    assert browser.evaluate(SMALLEST_TYPE) < LEAST_TYPE_PX
    assert browser.evaluate("document.querySelectorAll('svg text').forEach(text => text.setAttribute('x', 9))") is None
    assert browser.evaluate(COLLISIONS) != []


@pytest.mark.parametrize("width", (1100, 390))
@pytest.mark.parametrize("scheme", BACKGROUND)
def test_both_themes_are_drawn(browser, pages, scheme, width):
    browser.show(pages["failed"], width, scheme)
    drawn = chromium.pixels(browser.screenshot(height=800, scale=0.5))
    assert tuple(drawn[2, 2]) == BACKGROUND[scheme]
    ink = (abs(drawn.astype(int) - drawn[2, 2]).max(axis=-1) > 40).mean()
    assert 0.02 < ink < 0.5


def test_a_blank_page_would_be_seen(browser, pages, tmp_path):
    page = spoilt(pages["failed"], tmp_path, (r"<body>.*</body>", "<body></body>"))
    browser.show(page, 390, "light")
    drawn = chromium.pixels(browser.screenshot(height=800, scale=0.5))
    assert (drawn == drawn[2, 2]).all()


def test_paper_is_light_and_unfolded(browser, pages):
    browser.show(pages["failed"], 700, "dark")
    folded = "document.querySelector('details ul').checkVisibility({contentVisibilityAuto: true})"
    assert browser.evaluate(folded) is False
    browser.call(
        "Emulation.setEmulatedMedia", media="print", features=[{"name": "prefers-color-scheme", "value": "dark"}]
    )
    assert browser.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(253, 253, 251)"
    assert browser.evaluate("document.querySelector('details ul').getBoundingClientRect().height") > 20
    assert browser.evaluate(SCROLL_WIDTH) <= 700
    browser.call("Emulation.setEmulatedMedia", media="", features=[])


@pytest.mark.parametrize("name", SHOWN)
def test_a_page_asks_for_nothing(browser, pages, name):
    browser.show(pages[name], 1100, "light")
    assert browser.requests() == []


def test_requests_would_be_seen_and_the_policy_blocks_them(browser, pages, tmp_path):
    browser.show(spoilt(pages["held"], tmp_path, ("<main>", HOSTILE + "<main>")), 390, "light")
    assert browser.requests() == ["http://127.0.0.1:9/x.png"]
    assert browser.blocked() == ["csp"]
    assert browser.evaluate("document.title") != "ran"
    free = spoilt(pages["held"], tmp_path, (POLICY, ""), ("<main>", HOSTILE + "<main>"))
    browser.show(free, 390, "light")
    assert browser.blocked() == []
    assert browser.evaluate("document.title") == "ran"


def test_the_policy_lets_only_this_style_sheet_through(browser, pages, tmp_path):
    margin = "getComputedStyle(document.querySelector('h1')).marginTop"
    browser.show(pages["held"], 390, "light")
    assert browser.evaluate(margin) == "0px"
    browser.show(spoilt(pages["held"], tmp_path, (r"<style>", "<style>/* */")), 390, "light")
    assert browser.evaluate(margin) != "0px"


def test_the_verdict_shows_without_scrolling(browser, tmp_path):
    page = tmp_path / "page.html"
    page.write_text(parity_page(parsed(FAILED)), encoding="utf-8")
    browser.show(page, 390, "light")
    assert browser.evaluate("document.querySelector('.verdict').getBoundingClientRect().bottom") < 400
