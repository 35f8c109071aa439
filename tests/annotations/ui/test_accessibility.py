"""WCAG 2.2 AA: axe finds no violation on any screen, in both themes; the Tab key goes in the order that is seen."""

from __future__ import annotations

import pytest

from . import made
from .browsing import Tab, audited, launched
from .serving import Server

PHONE = {"viewport": {"width": 390, "height": 740}, "is_mobile": True, "has_touch": True}


@pytest.fixture(scope="module")
def browser():
    with launched() as found:
        yield found


@pytest.fixture(scope="module")
def servers(tmp_path_factory):
    """One server that shows items one by one, and one that shows groups."""
    with (
        Server(made.make(tmp_path_factory.mktemp("single")), "--goal", "2") as single,
        Server(made.make(tmp_path_factory.mktemp("grid")), "--grid", "8") as grid,
    ):
        yield {"single": single, "grid": grid}


@pytest.mark.parametrize("device", ["desktop", "phone"])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_no_screen_violates_wcag(browser, servers, scheme, device):
    options = {"color_scheme": scheme} | (PHONE if device == "phone" else {})
    one = Tab(browser, servers["single"].address, **options)
    one.see("name")
    screens = {"name": audited(one)}
    one.page.keyboard.type("a b")
    one.press("Enter")
    one.page.locator("#annotator[aria-invalid=true]").wait_for()
    screens["wrong name"] = audited(one)
    one.press("Control+a")
    one.page.keyboard.type(f"{scheme}-{device}")
    one.press("Enter")
    one.see("guide")
    screens["guide"] = audited(one)
    one.press("Enter")
    one.see("ask")
    one.press("ArrowRight")
    assert one.text("refusal")
    screens["refused"] = audited(one)
    one.answer("y", 2)
    one.answer("ArrowLeft", 1)
    screens["answered"] = audited(one)
    one.press("z")
    one.see("close-up")
    screens["enlarged"] = audited(one)
    one.press("Escape")
    one.page.route("**/api/answers", lambda route: route.abort())
    one.wait()
    one.press("n")
    one.page.locator("#alert").wait_for()
    screens["not saved"] = audited(one)
    one.page.unroute("**/api/answers")
    one.answer("n", 2)
    one.wait()
    one.press("y")
    one.see("done")
    screens["done"] = audited(one)
    one.context.close()
    one = Tab(browser, f"{servers['grid'].address}/?annotator={scheme}-{device}", **options)
    one.see("guide")
    screens["guide to groups"] = audited(one)
    one.press("Enter")
    one.see("grid")
    screens["group"] = audited(one)
    one.press("Space")
    one.see("opposite")
    screens["taken out"] = audited(one)
    one.wait()
    one.press("Shift+Y")
    one.hears("Answered yes.")
    one.saved()
    one.press("Backspace")
    one.hears("Answer again to change all")
    screens["group answered"] = audited(one)
    one.context.close()
    assert {screen: found for screen, found in screens.items() if found} == {}


@pytest.mark.parametrize("device", ["desktop", "phone"])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_overview_violates_no_wcag(browser, servers, scheme, device):
    server = servers["single"]
    server.give(3, "someone", "no")
    one = Tab(browser, server.links[-1], color_scheme=scheme, **(PHONE if device == "phone" else {}))
    one.page.locator("#annotators td").first.wait_for()
    assert one.page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    assert "token" not in one.page.url
    assert audited(one) == []
    one.page.reload()  # the cookie opens it again
    one.page.locator("#annotators td").first.wait_for()
    assert "someone" in one.page.locator("#annotators").inner_text()
    one.close()


def test_axe_finds_a_violation_where_there_is_one(browser, servers):
    one = Tab(browser, servers["single"].address)
    one.see("name")
    one.page.evaluate("document.querySelector('label').remove()")
    one.page.evaluate("document.querySelector('#who').style.color = '#bbb'")
    assert {"label", "color-contrast"} <= {line.split(":")[0] for line in audited(one)}
    one.context.close()


def stops(one: Tab, presses: int) -> list[str]:
    """What the Tab key goes to: ids, or the labels of pictures."""
    found = []
    for _ in range(presses):
        one.press("Tab")
        found.append(
            one.page.evaluate("document.activeElement.id || document.activeElement.getAttribute('aria-label')")
        )
    return found


def test_the_tab_key_goes_in_the_order_that_is_seen(browser, servers):
    one = Tab(browser, f"{servers['single'].address}/?annotator=tabs")
    one.see("guide")
    assert stops(one, 3) == ["keys", "colours", "start"]
    one.press("Enter")
    one.see("ask")
    assert one.page.evaluate("document.activeElement.id") == "question"
    assert stops(one, 4) == ["yes", "no", "unsure", "closer"]  # nothing to go back to, or to undo
    one.press("Enter")
    one.see("close-up")
    assert one.page.evaluate("document.activeElement.id") == "enlarged"
    assert stops(one, 1) == ["note"]
    one.press("Escape")
    assert one.page.evaluate("document.activeElement.id") == "closer"
    one.context.close()
    one = Tab(browser, f"{servers['grid'].address}/?annotator=tabs")
    one.begin()
    one.press("ArrowRight")
    assert one.page.evaluate("document.activeElement.getAttribute('aria-label')").startswith("Picture 2 of")
    assert stops(one, 2) == ["yes", "no"]  # the group of pictures is one stop
    one.press("Shift+Tab")
    one.press("Shift+Tab")
    one.press("Space")
    assert one.page.evaluate("document.activeElement.getAttribute('aria-checked')") == "false"
    assert stops(one, 5) == ["yes", "no", "unsure", "yes-no", "no-yes"]
    one.context.close()
