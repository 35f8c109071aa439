"""README.md and the pages of docs/ that repeat its examples."""

from __future__ import annotations

import re

import pytest

from . import tiny

README = tiny.ROOT / "README.md"


def blocks(text: str, language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", text, re.DOTALL)


def test_readme_is_at_most_ten_kilobytes():
    assert README.stat().st_size <= 10240


@pytest.mark.parametrize(
    ("heading", "language", "page"),
    [
        ("## Install and run", "sh", "install.md"),
        ("## Your own images", "sh", "own-images.md"),
        ("## As a Python library", "python", "library.md"),
        ("## Annotating", "sh", "annotation.md"),
        ("## The audit in five lines", "sh", "audit.md"),
    ],
)
def test_docs_repeat_the_readme_example(heading, language, page):
    section = README.read_text(encoding="utf-8").split(heading)[1].split("\n## ")[0]
    examples = blocks(section, language)
    assert examples
    documented = blocks((tiny.ROOT / "docs" / page).read_text(encoding="utf-8"), language)
    assert [example for example in examples if example not in documented] == []


def test_links_of_the_readme_lead_to_files():
    links = re.findall(r"\]\(([^)#]+)(?:#[^)]*)?\)", README.read_text(encoding="utf-8"))
    local = [link for link in links if not link.startswith("https://")]
    assert local
    assert [link for link in local if not (tiny.ROOT / link).exists()] == []
