"""RFC 3339: dates that are in the calendar, times with the leap seconds where they can be, durations."""

from __future__ import annotations

from functools import lru_cache

from grammars.regex import Language

YEAR = "(?:[1-9][0-9]{3}|0[1-9][0-9]{2}|00[1-9][0-9]|000[1-9])"
FOURTH = "(?:0[48]|[2468][048]|[13579][26])"
LEAP_YEAR = f"(?:[0-9]{{2}}{FOURTH}|{FOURTH}00)"
DAY_28, DAY_30, DAY_31 = "(?:0[1-9]|1[0-9]|2[0-8])", "(?:0[1-9]|[12][0-9]|30)", "(?:0[1-9]|[12][0-9]|3[01])"
MONTHS = f"(?:(?:0[13578]|1[02])-{DAY_31}|(?:0[469]|11)-{DAY_30}|02-{DAY_28})"
DATE = f"(?:{YEAR}-{MONTHS}|{LEAP_YEAR}-02-29)"
HOUR, MINUTE, FRACTION = "(?:[01][0-9]|2[0-3])", "[0-5][0-9]", r"(?:\.[0-9]+)?"
OFFSET = f"(?:[Zz]|[+-]{HOUR}:{MINUTE})"
TIME = f"{HOUR}:{MINUTE}:[0-5][0-9]{FRACTION}{OFFSET}"
LEAP_ZULU = f"23:59:60{FRACTION}(?:[Zz]|[+-]00:00)"


def date() -> Language:
    """`full-date`. Years from 0001 on, as most readers have it."""
    return _parse(DATE)


def time() -> Language:
    """`full-time`; second 60 where it is 23:59 in UTC."""
    return _parse(f"{TIME}|{LEAP_ZULU}") | _leap_second_away("+") | _leap_second_away("-")


def date_time() -> Language:
    """`date-time`; second 60 where it is 23:59 of the last of June or December in UTC, a leap second's place."""
    plain = _parse(f"{DATE}[Tt]{TIME}|{YEAR}-(?:06-30|12-31)[Tt]{LEAP_ZULU}")
    west = _parse(f"{YEAR}-(?:06-30|12-31)[Tt]") + _leap_second_away("-")
    east = _parse(f"{YEAR}-(?:07-01|01-01)[Tt]") + _leap_second_away("+")
    return plain | west | east


def duration() -> Language:
    """Appendix A."""
    n = "[0-9]+"
    time_part = f"T(?:{n}H(?:{n}M(?:{n}S)?)?|{n}M(?:{n}S)?|{n}S)"
    date_part = f"(?:{n}Y(?:{n}M(?:{n}D)?)?|{n}M(?:{n}D)?|{n}D)"
    return _parse(f"P(?:{date_part}(?:{time_part})?|{time_part}|{n}W)")


@lru_cache(maxsize=2)
def _leap_second_away(sign: str) -> Language:
    """Second 60 with an offset that is not zero: the local time is 23:59 plus the offset.

    Of the offsets, those of full, half and three quarters of an hour: no clock was ever set by another.
    """
    result = []
    fraction = _parse(FRACTION)
    for offset in (60 * hour + minute for hour in range(24) for minute in (0, 30, 45)):
        local = (23 * 60 + 59 + (offset if sign == "+" else -offset)) % (24 * 60)
        head = Language.literal(f"{local // 60:02}:{local % 60:02}:60")
        result.append(head + fraction + Language.literal(f"{sign}{offset // 60:02}:{offset % 60:02}"))
    return Language.union(result)


def _parse(pattern: str) -> Language:
    return Language.parse(pattern, dialect="python")
