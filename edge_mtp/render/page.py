"""The frame of a page: head, theme and body in one file that asks nothing of the network."""

from base64 import b64encode
from hashlib import sha256
from pathlib import Path
from typing import Final

from edge_mtp.render.markup import Html, join, tag

STYLE: Final = Path(__file__).with_name("page.css")


def document(title: str, body: Html, version: str) -> str:
    """A complete HTML document; `version` is that of the edge-mtp that measured.

    Its security policy allows the page's own style sheet, by its hash, and nothing else: no script, no image, no
    request.
    """
    css = STYLE.read_text(encoding="utf-8")
    head = tag(
        "head",
        tag("meta", charset="utf-8"),
        tag("meta", http_equiv="Content-Security-Policy", content=policy(css)),
        tag("meta", name="viewport", content="width=device-width, initial-scale=1"),
        tag("meta", name="color-scheme", content="light dark"),
        tag("meta", name="referrer", content="no-referrer"),
        tag("meta", name="generator", content=f"edge-mtp {version}"),
        tag("title", title),
        tag("style", Html(css)),
    )
    return join([Html("<!doctype html>\n"), tag("html", head, tag("body", body), lang="en"), Html("\n")])


def policy(css: str) -> str:
    """A Content-Security-Policy under which only the style sheet `css` applies."""
    digest = b64encode(sha256(css.encode()).digest()).decode()
    return f"default-src 'none'; style-src 'sha256-{digest}'; base-uri 'none'; form-action 'none'"
