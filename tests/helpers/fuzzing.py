"""Inputs that nobody would write: how many, which, and what is counted of them."""

import os
import random
import re
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st

TIMES = int(os.environ.get("FUZZ_TIMES", "0"))
"""So many times the usual inputs, and other ones each time (tools/fuzz.sh)."""

SECONDS = 20.0
"""Of the processor's time, that a single input may take."""

inputs: Counter[str] = Counter()
"""What was read so far, by its kind."""

SEEDS = st.integers(0, 2**62)


def examples(count: int) -> Callable[[Callable], Callable]:
    """Settings of a test with so many inputs in the suite: the same ones each time."""
    return settings(
        max_examples=count * max(1, TIMES),
        derandomize=not TIMES,
        deadline=None,
        database=None,
        suppress_health_check=list(HealthCheck),
    )


@contextmanager
def counted(kind: str) -> Iterator[None]:
    """Counts an input, and fails where it takes too long."""
    inputs[kind] += 1
    begun = time.process_time()
    yield
    taken = time.process_time() - begun
    assert taken < SECONDS, f"{kind}: {taken:.0f} s"


# --- bytes

ODD = (0, 1, 0x7F, 0x80, 0xFF)


def damaged(originals: Sequence[bytes], seed: int) -> bytes:
    """One of the originals with a few bytes, or stretches of them, not as they were."""
    chance = random.Random(seed)
    content = bytearray(chance.choice(originals))
    for _ in range(chance.choice((1, 1, 1, 2, 3, 8))):
        place = chance.randrange(len(content) + 1)
        length = min(chance.choice((1, 1, 2, 4, 8, 64, 1000)), len(content) - place)
        stretch = slice(place, place + length)
        match chance.randrange(7):
            case 0:
                del content[place:]
            case 1:
                del content[stretch]
            case 2:
                content[place:place] = content[stretch] * chance.choice((1, 2, 50))
            case 3:
                content[stretch] = chance.randbytes(length)
            case 4:
                content[stretch] = bytes([chance.choice(ODD)]) * length
            case 5 if length:
                content[place] ^= 1 << chance.randrange(8)
            case 6:
                other = chance.choice(originals)
                start = chance.randrange(len(other) + 1)
                content[stretch] = other[start : start + chance.choice((1, 8, 200))]
    return bytes(content)


# --- text

TOKEN = re.compile(r'"(?:[^"\\\n]|\\.)*"|[A-Za-z_][\w/]*|[-+]?[\d.]\w*|\s+|.', re.S)

NUMBERS = (
    *("0", "1", "-1", "2", "3", "7", "255", "256", "1000", "65536", "2147483647"),
    *("2147483648", "4294967295", "-2147483648", "9223372036854775807", "1e18", "1e39"),
    *("18446744073709551616", "1e-45", "0.5", "-0.5", "nan", "inf", "-inf", "1e999"),
    *("0x10", "010", "1.", ".", "1e", "1f", "99999999999999999999999"),
)
STRINGS = (
    *('""', '"data"', '"x"', '"a b"', '"../.."', '"{{ 7 }}"', '"dec:x"', '"/dev/zero"'),
    *(r'"\n"', r'"\377"', '"label"', r'"\"', "'x'", '"' + "y" * 300 + '"', '"\u202e"'),
)
WORDS = ("true", "false", "MAX", "TRAIN", "TEST", "layer", "layers", "param", "name")
SIGNS = ("{", "}", ":", "{ }", "} {", "#", ";", ",", "[", "]", "<", ">", "\n")


def rewritten(originals: Sequence[str], seed: int) -> str:
    """One of the originals with a few words, numbers, strings or lines not as they
    were."""
    chance = random.Random(seed)
    tokens = TOKEN.findall(chance.choice(originals))
    others = TOKEN.findall(chance.choice(originals))
    for _ in range(chance.choice((1, 1, 1, 2, 3, 6))):
        if not tokens:
            break
        place = chance.randrange(len(tokens))
        match chance.randrange(6):
            case 0 | 1 | 2:
                tokens[place] = _other(tokens[place], others, chance)
            case 3:
                del tokens[place : place + chance.choice((1, 2, 6, 40))]
            case 4:
                stretch = tokens[place : place + chance.choice((1, 6, 40, 80))]
                at = chance.randrange(len(tokens) + 1)
                tokens[at:at] = stretch
            case 5:
                tokens.insert(place, chance.choice(SIGNS))
    return "".join(tokens)


def _other(token: str, others: list[str], chance: random.Random) -> str:
    kinds = (('"', STRINGS), ("-+.0123456789", NUMBERS))
    for starts, odd in kinds:
        if token[0] in starts:
            same = [other for other in others if other[0] in starts]
            return chance.choice(chance.choice((odd, same or odd)))
    if token[0].isalpha():
        return chance.choice((chance.choice(WORDS), chance.choice(others)))
    return chance.choice(SIGNS)


# --- JSON

LEAVES = st.one_of(
    st.none(),
    st.booleans(),
    st.sampled_from((0, -1, 1, 2**31, 2**63, 10**400, 1e308, 0.5, -0.5)),
    st.sampled_from((float("nan"), float("inf"), float("-inf"))),
    st.sampled_from(("", "x", "1", "é\ud800", "../..", "a" * 5000, "\0", "nan")),
)
VALUES = st.recursive(
    LEAVES,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(("", "x", "1", "path", "sha256")), inner)
    ),
    max_leaves=4,
)


@st.composite
def altered(draw: Callable, original: Any) -> Any:
    """A JSON value with some of its parts replaced, removed or added."""
    value = original
    for _ in range(draw(st.integers(1, 3))):
        value = _altered(draw, value)
    return value


def _altered(draw: Callable, value: Any) -> Any:
    inner = list(value) if isinstance(value, dict) else []
    if isinstance(value, list):
        inner = list(range(len(value)))
    if not inner or draw(st.integers(0, 5)) == 0:
        return draw(VALUES)
    place = draw(st.sampled_from(inner))
    copy = value.copy()
    match draw(st.sampled_from("replace replace replace remove add".split())):
        case "replace":
            copy[place] = _altered(draw, value[place])
        case "remove":
            del copy[place]
        case "add" if isinstance(value, dict):
            copy[draw(st.sampled_from(("", "x", "0", "-1", "é")))] = draw(VALUES)
        case "add":
            copy.append(draw(VALUES))
    return copy
