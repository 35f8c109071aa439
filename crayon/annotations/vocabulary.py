"""Which words mean yes, no and unsure. One table for every file that answers come in; nothing else is ever guessed."""

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
"""Word, in lower case and without blanks around it -> yes, no or unsure.

Besides English: German, French, Spanish, Italian, Portuguese, Dutch, Danish, Norwegian, Swedish, Russian, Chinese,
Japanese, Korean; of these only words that mean the same in all of them. -1 is not there: some write it for no.
"""


def meaning(word: str) -> str | None:
    """What a word answers, whatever its case, the blanks around it and the form of its accents; None if unknown."""
    return WORDS.get(unicodedata.normalize("NFC", word.replace("’", "'")).strip().casefold())
