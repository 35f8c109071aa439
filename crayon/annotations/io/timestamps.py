"""Parses and formats the timestamps of annotation platforms."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta, timezone

_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
_ZONES = {"PST": -8, "PDT": -7, "UTC": 0, "GMT": 0}
_JAVA = re.compile(r"[A-Z][a-z]{2} ([A-Z][a-z]{2}) (\d\d?) (\d\d):(\d\d):(\d\d) ([A-Z]{3}) (\d{4})")


def moment(text: str) -> datetime | None:
    """Parse a timestamp: ISO 8601 with a time zone, or Mechanical Turk's format `Thu Feb 23 10:11:12 PST 2023`.

    Returns:
        The time in UTC; None if the text has another format, or no time zone.
    """
    if match := _JAVA.fullmatch(text):
        month, day, hour, minute, second, zone, year = match.groups()
        if month not in _MONTHS or zone not in _ZONES:
            return None
        date_and_time = (int(year), _MONTHS.index(month) + 1, int(day), int(hour), int(minute), int(second))
        try:
            return datetime(*date_and_time, tzinfo=timezone(timedelta(hours=_ZONES[zone]))).astimezone(UTC)
        except ValueError:
            return None
    try:
        when = datetime.fromisoformat(text)
        return when.astimezone(UTC) if when.tzinfo is not None else None
    except (ValueError, OverflowError):
        return None


def stamp(when: datetime) -> str:
    """Format a time as ISO 8601 in UTC: `2023-02-23T18:11:12Z`."""
    return when.astimezone(UTC).isoformat().replace("+00:00", "Z")
