"""Table of words that mean yes, no or unsure, for all imports. Other words are errors; meanings are never guessed."""

from __future__ import annotations

import unicodedata

ANSWERS = ("yes", "no", "unsure")

_MEAN = {
    "yes": (
        *("yes", "y", "true", "t", "1", "1.0"),
        *("ja", "oui", "sí", "sì", "si", "sim", "да", "是", "はい", "예", "네"),
    ),
    "no": (
        *("no", "n", "false", "f", "0", "0.0"),
        *("nein", "non", "não", "nee", "nej", "nei", "нет", "否", "不是", "いいえ", "아니요", "아니오"),
    ),
    "unsure": (
        *("unsure", "u", "maybe", "not sure", "uncertain", "don't know", "i don't know", "can't tell", "cannot tell"),
        *("unsicher", "vielleicht", "incertain", "peut-être", "quizás", "tal vez", "incerto", "forse", "talvez"),
        *("misschien", "не уверен", "не знаю", "不确定", "不確定", "わからない", "모르겠음", "모르겠어요"),
    ),
}

WORDS = {word: answer for answer, words in _MEAN.items() for word in words}
"""Word, in lower case and without surrounding blanks -> yes, no or unsure.

The languages are English, German, French, Spanish, Italian, Portuguese, Dutch, Danish, Norwegian, Swedish, Russian,
Chinese, Japanese and Korean. A word is included only if it has the same meaning in all of them. -1 is left out, since
it is ambiguous.
"""


def meaning(word: str) -> str | None:
    """The answer that a word means, or None if unknown; ignores case, surrounding blanks and encoding of accents."""
    return WORDS.get(unicodedata.normalize("NFC", word.replace("’", "'")).strip().casefold())
