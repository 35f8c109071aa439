"""The digest of the code that a job runs."""

import json

import pytest

from crayon.pipeline import fingerprint


def test_comments_docstrings_and_blank_lines_do_not_count():
    bare = "def f(x):\n    return x + 1\n"
    told = '"""A module."""\n\n# why\ndef f(x):  # what\n    """Do it.\n\n    At length.\n    """\n\n    return x + 1\n'
    assert fingerprint.essence(told) == fingerprint.essence(bare)


def test_code_counts_and_so_do_strings_that_are_not_docstrings():
    assert fingerprint.essence("x = 1\n") != fingerprint.essence("x = 2\n")
    assert fingerprint.essence("x = '# a'\n") != fingerprint.essence("x = '# b'\n")


def test_a_run_depends_on_its_own_method_only():
    attention = fingerprint.closure(("crayon.pipeline.steps.refine", "crayon.methods.crayon_attention"))
    erm = fingerprint.closure(("crayon.pipeline.steps.refine", "crayon.methods.erm"))
    assert "crayon.methods.crayon_attention" in attention
    assert "crayon.methods.crayon_attention" not in erm
    assert {"crayon.training.fit", "crayon.models.classifier", "crayon.methods.base", "crayon.saliency.gradcam"} <= set(
        attention
    )


def test_imports_for_type_checking_do_not_count():
    # methods.base names training for its annotations only
    assert "crayon.training.fit" not in fingerprint.closure(("crayon.methods.base",))


def test_tables_do_not_depend_on_training():
    assert "crayon.training.fit" not in fingerprint.closure(("crayon.report.table1",))


@pytest.fixture
def remembered(tmp_path, monkeypatch):
    """Returns the digest of a module, in a process that has this text as its memory of an earlier one."""
    caches = [found for found in vars(fingerprint).values() if hasattr(found, "cache_clear")]
    monkeypatch.setattr(fingerprint, "MEMORY", tmp_path / "fingerprint.json")
    monkeypatch.setattr(fingerprint.sys, "dont_write_bytecode", True)

    def digest(text: str) -> str:
        fingerprint.MEMORY.write_text(text)
        for found in caches:
            found.cache_clear()
        return fingerprint.digests(("crayon.methods.erm",))["crayon.methods.erm"]

    yield digest
    for found in caches:
        found.cache_clear()


def test_what_was_found_in_a_file_is_remembered_until_the_file_changes(remembered):
    right = remembered("{}")
    (key, code, found) = fingerprint._memory()["crayon.methods.erm"]
    assert code == right
    assert "crayon.methods.base" in found
    assert remembered(json.dumps({"crayon.methods.erm": [key, "0" * 64, found]})) == "0" * 64
    assert remembered(json.dumps({"crayon.methods.erm": ["of another file", "0" * 64, found]})) == right


@pytest.mark.parametrize("text", ["", "[]", "{", '{"crayon.methods.erm": 3}', '{"crayon.methods.erm": ["a", "b"]}'])
def test_a_damaged_memory_is_ignored(remembered, text):
    assert remembered(text) == remembered("{}")
