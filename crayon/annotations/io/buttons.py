"""Radio buttons and checkboxes in Mechanical Turk's results: a question whose answer is spread over several columns.

A button with the name N and the value V becomes the column `Answer.N.V`, which is true or false. A button without a
value becomes `Answer.N.on`. A group of radio buttons has no name: its question is the common part of the names of its
buttons.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from crayon.annotations.vocabulary import meaning, truth


@dataclass(frozen=True)
class Buttons:
    """The buttons of one question.

    Attributes:
        question: the common part of the names of their columns, without `Answer.`; may be empty.
        words: column, without `Answer.` -> the answer of its button, such as `yes`.
    """

    question: str
    words: Mapping[str, str]

    def answer(self, row: Mapping[str, str]) -> str:
        """Return the word of the button that is true.

        The result is empty if no button is true. If several are true, or a value is neither true nor false, the result
        is a text that is not a valid answer.

        Args:
            row: column -> value.
        """
        values = {column: row.get(column, "") for column in self.words}
        chosen = [self.words[column] for column, value in values.items() if truth(value)]
        odd = [f"{column} {value}" for column, value in values.items() if value and truth(value) is None]
        return " and ".join(chosen + odd)


def split_column(column: str) -> tuple[str, str]:
    """Split the name of a column into the question and the answer of the button.

    `q.yes`, `q_yes.yes`, `q.yes.on` and `q_yes` give `q` and `yes`; `yes.yes` and `yes` give no question, and `yes`.
    """
    question, _, word = column.rpartition(".")
    if word.casefold() == "on" and question:
        question, _, word = question.rpartition(".")
    if meaning(word) is None:
        before, last = _without_word(word)
        return (".".join(filter(None, (question, before))), last) if last else (question, word)
    head, _, name = question.rpartition(".")
    if meaning(name) == meaning(word):  # `yes.yes`
        return head, word
    before, last = _without_word(name)
    if last and meaning(last) == meaning(word):  # `q_yes.yes`
        return ".".join(filter(None, (head, before))), word
    return question, word


def _without_word(name: str) -> tuple[str, str]:
    """Split `q_not_sure` into `q` and `not_sure`; the second is empty if the name does not end in an answer."""
    for position, character in enumerate(name):
        if character in "_-" and position and meaning(name[position + 1 :]) is not None:
            return name[:position], name[position + 1 :]
    return name, ""


def button_groups(rows: Sequence[Mapping[str, str]]) -> list[Buttons]:
    """Find the questions whose answers are given by buttons.

    Args:
        rows: for each row of the results, column without `Answer.` -> value.

    Returns:
        One group for each question whose buttons mean at least two of yes, no and unsure. The group also contains the
        question's other buttons: columns of true and false with other words. If there are other buttons, and an answer
        is given by a digit or a single letter, there is no group, because the buttons may be a scale or a list of
        options.
    """
    of_question: dict[str, dict[str, str]] = {}
    for column in dict.fromkeys(column for row in rows for column in row):
        question, word = split_column(column)
        of_question.setdefault(question, {})[column] = word
    groups = []
    for question, words in of_question.items():
        values = {column: {row.get(column, "") for row in rows} - {""} for column in words}
        if not question:  # the columns share no name: another one may be a form's consent
            words = {column: word for column, word in words.items() if meaning(word)}
        words = {column: word for column, word in words.items() if meaning(word) or all(map(is_truth, values[column]))}
        given = {value for column in words for value in values[column]}
        known = {word: meaning(word) for word in words.values() if meaning(word)}
        others = len(known) < len(set(words.values()))
        is_scale = others and any(word.isascii() and (len(word) == 1 or word[0].isdigit()) for word in known)
        if len(set(known.values())) > 1 and (not given or any(map(is_truth, given))) and not is_scale:
            groups.append(Buttons(question, words))
    return groups


def is_truth(value: str) -> bool:
    """Whether a value is true or false, in any spelling."""
    return truth(value) is not None
