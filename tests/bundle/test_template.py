import jinja2
import pytest

from edge_mtp.bundle.template import missing_methods, runtime_template

SYSTEM = "{%- if messages[0]['role'] == 'system' -%}{{ messages[0]['content'] | trim }}{%- endif -%}"


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("{{ m.get('a') }}", "{{ m['a'] }}"),
        ("{{ m.get('a') or m.get( key ) }}", "{{ m['a'] or m[key] }}"),
        ("{% if m.get('a', '') %}", "{% if m['a'] | default('') %}"),
        ("{% set x = m.get('a', []) %}", "{% set x = m['a'] | default([]) %}"),
        ("text m.get('a') outside", "text m.get('a') outside"),
        ("{{ '.get()' }}", "{{ '.get()' }}"),
        ("{{ m.get('a', {})['b'] }}", "{{ m.get('a', {})['b'] }}"),
    ],
)
def test_get_becomes_a_subscript(before, after):
    assert runtime_template(before) == after


def test_what_cannot_be_rewritten_is_named():
    assert missing_methods("{{ m.get('a', {})['b'] }}{{ 'x'.upper() }}{{ 'y'.strip() }}") == ("get", "upper")
    assert missing_methods("prose.get('a') {{ 'a.upper()' }} {% for x in m.items() %}") == ()


@pytest.mark.parametrize("content", [" Be nice. ", [{"type": "text", "text": " Be nice. "}]])
def test_content_is_joined_from_parts_and_left_alone_as_text(content):
    rendered = jinja2.Template(runtime_template(SYSTEM)).render(messages=[{"role": "system", "content": content}])
    assert rendered == "Be nice."


def test_the_original_would_have_printed_the_list():
    parts = [{"type": "text", "text": "Be nice."}]
    assert "type" in jinja2.Template(SYSTEM).render(messages=[{"role": "system", "content": parts}])


@pytest.mark.parametrize("template", [SYSTEM, "{{ m.get('a') }}", "{{ m['content']|trim + m.content | trim }}"])
def test_rewriting_twice_changes_nothing_more(template):
    once = runtime_template(template)
    assert once != template
    assert runtime_template(once) == once
