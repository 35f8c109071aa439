"""Table of words that mean yes, no or unsure, for all imports. Other words are errors; meanings are never guessed."""

from __future__ import annotations

import re

from crayon.utils.text import composed

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
    """The answer that a word means, or None if unknown.

    Case, surrounding blanks and the encoding of accents make no difference, and `not_sure` is `not sure`.
    """
    word = composed(word.replace("’", "'")).strip().casefold()
    return WORDS.get(word) or WORDS.get(_JOINED.sub(" ", word))


_JOINED = re.compile(r"(?<=[^\W\d])[_-](?=[^\W\d])")
"""Underscore or hyphen between two words of a name, as in `not_sure`."""

_TRUTHS = {
    True: "true t 1 1.0 on wahr vrai verdadero verdadeiro vero waar sand sann sant истина",
    False: "false f 0 0.0 off falsch faux falso onwaar falsk usann falskt ложь",
}
TRUTHS = {word: value for value, words in _TRUTHS.items() for word in words.split()}
"""Word, in lower case -> True or False: spreadsheets write the state of a button in the language of their user."""


def truth(word: str) -> bool | None:
    """Whether a word is true or false, or None if it is neither."""
    return TRUTHS.get(composed(word).strip().casefold())
