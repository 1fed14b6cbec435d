"""Text from a report stays text."""

import pytest

from edge_mtp.render.markup import NUMBER, Column, Html, definitions, folded, join, prose, section, table, tag, text


@pytest.mark.parametrize("sign", ["<", ">", "&", '"', "'"])
def test_text_is_escaped_once_wherever_it_meets_markup(sign):
    escaped = str(text(sign))
    assert sign not in escaped.replace("&", "", 1) or sign == "&"
    assert text(text(sign)) == escaped
    assert tag("p", sign) == f"<p>{escaped}</p>"
    assert tag("p", title=sign) == f'<p title="{escaped}"></p>'
    assert join(["a", sign], sign) == f"a{escaped}{escaped}"


def test_markup_glued_to_text_is_text_again():
    glued = tag("b", "x") + "<i>"
    assert not isinstance(glued, Html)
    assert tag("p", glued) == "<p>&lt;b&gt;x&lt;/b&gt;&lt;i&gt;</p>"


def test_text_can_always_be_written_as_utf_8():
    half, whole = "a\ud83db", "\ud83d\ude00"
    with pytest.raises(UnicodeEncodeError):
        half.encode()
    assert text(half).encode().decode() == "a\ufffdb"
    assert text(whole) == "😀"
    assert text("a\0b") == "a\ufffdb"


def test_tags_carry_classes_and_attributes():
    assert tag("p.lead.muted", id="x") == '<p class="lead muted" id="x"></p>'
    assert tag("line", x1=1.5, y1=2.0, stroke_width=1) == '<line x1="1.5" y1="2" stroke-width="1"></line>'
    assert tag("br") == "<br>"


def test_prose_sets_code_between_backticks():
    assert prose("run `a<b`, then `c`.") == "run <code>a&lt;b</code>, then <code>c</code>."
    assert prose("one ` alone <") == "one ` alone &lt;"


def test_a_table_names_its_rows_and_columns():
    found = table("what", [Column("name"), Column("n", "how many", NUMBER)], [["a<", "1"]])
    assert "<caption>what</caption>" in found
    assert '<th scope="col">name</th><th class="number" scope="col">n<small>how many</small></th>' in found
    assert '<th scope="row">a&lt;</th><td class="number">1</td>' in found
    assert found.startswith('<div class="scroll" role="region" aria-label="what" tabindex="0">')


def test_larger_pieces():
    assert definitions([("<", ">")]) == '<dl class="facts"><div><dt>&lt;</dt><dd>&gt;</dd></div></dl>'
    assert folded("more", "x") == "<details><summary>more</summary>x</details>"
    assert section("a", "A", "x") == '<section id="a"><h2>A</h2>x</section>'
