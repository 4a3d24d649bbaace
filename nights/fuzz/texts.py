"""Changes to text of lines: lines, words and numbers; what a word holds in base64 or hexadecimal too."""

import base64
import binascii
import re
from collections.abc import Callable, Iterable
from random import Random

from nights.fuzz.trees import altered_bytes, is_short, parse, tree_change

NUMBERS = (b"0", b"1", b"2", b"3", b"00", b"01", b"+1", b"-1", b"255", b"256", b"257", b"1_0", b"1e3", b"1.0", b"")
LARGE = (b"9223372036854775807", b"9223372036854775808", b"18446744073709551616", b"9" * 19, b"9" * 30, b"9" * 400)
ODD = (b" ", b"  ", b"\t", b"\r", b"\n", b"\n\n", b"\x00", b"\x1c", b"\x7f", b"\xc2\x85", b"\xc2\xa0", b"\xe2\x80\xa8")
MORE = (b"\xff", b"\xe2\x80\x94 ", b"=", b"+", b"#", b"/", b".p/", b"x", b"'", b'"', b"[", b"]", b"{", b"\\u0000", b"A")

_WORD = re.compile(rb"[^\s\"=:,\[\]]+")
_NUMBER = re.compile(rb"[0-9]+")

Mend = Callable[[bytes, Random], bytes]
"""Makes a changed text consistent again, as far as the dice say."""


def leave(text: bytes, dice: Random) -> bytes:
    """Where nothing has to be consistent."""
    return text


def broken(text: bytes) -> list[bytes]:
    """The text without each of its lines, with each twice, cut, with another word: one for most rules."""
    lines = text.split(b"\n")
    found = []
    for at, line in enumerate(lines):
        for other in ([], [line, line], [line[: len(line) // 2]], [b"x"], [line + b"A"]):
            found.append(b"\n".join([*lines[:at], *other, *lines[at + 1 :]]))
    return found


def mutator(mend: Mend, donors: Callable[[], list[bytes]]) -> Callable[[bytes, Random], bytes]:
    """Changes texts; lines of the `donors` take the place of others."""
    gift: list[list[bytes]] = []

    def mutate(data: bytes, dice: Random) -> bytes:
        if not gift:
            gift.extend(donor.split(b"\n") for donor in donors() if is_short(donor))
        if not data:
            data = b"\n".join(dice.choice(gift))
        for _ in range(dice.choice((1, 1, 1, 2, 3))):
            data = _changed(data, dice, gift)
        return mend(data, dice) if dice.random() < 0.75 else data

    return mutate


def _changed(data: bytes, dice: Random, gift: list[list[bytes]]) -> bytes:
    lines = data.split(b"\n")
    at = dice.randrange(len(lines))
    match dice.randrange(10):
        case 0:
            del lines[at]
        case 1:
            lines.insert(at, lines[at])
        case 2:
            other = dice.randrange(len(lines))
            lines[at], lines[other] = lines[other], lines[at]
        case 3:
            lines[at] = dice.choice(dice.choice(gift))
        case 4:
            lines.insert(at, dice.choice(dice.choice(gift)))
        case 5:
            place = dice.randrange(len(data) + 1)
            return data[:place] + dice.choice((*ODD, *MORE)) + data[place + dice.randrange(2) :]
        case 6:
            lines[at] = _with_one(_NUMBER, lines[at], dice, _other_number)
        case _:
            lines[at] = _with_one(_WORD, lines[at], dice, other_word)
    return b"\n".join(lines)


def _with_one(pattern: re.Pattern[bytes], line: bytes, dice: Random, other: Callable[[bytes, Random], bytes]) -> bytes:
    found = list(pattern.finditer(line))
    if not found:
        return line
    one = dice.choice(found)
    return line[: one.start()] + other(one[0], dice) + line[one.end() :]


def _other_number(word: bytes, dice: Random) -> bytes:
    if len(word) > 19 or dice.random() < 0.5:
        return dice.choice((*NUMBERS, *LARGE))
    return str(max(0, int(word) + dice.choice((-1, 1, 1, 2, 10)))).encode()


def other_word(word: bytes, dice: Random) -> bytes:
    """What the word holds, changed, in the same spelling; or the word itself changed as bytes."""
    if dice.random() < 0.8:
        for read, write in _CODECS:
            try:
                held = read(word)
            except (binascii.Error, ValueError):
                continue
            if held and write(held) == word:
                return write(_other_content(held, dice))
    return altered_bytes(word, dice)


def _other_content(held: bytes, dice: Random) -> bytes:
    try:
        return tree_change(parse(held), dice)
    except ValueError:
        return altered_bytes(held, dice)


def _from_base64(word: bytes) -> bytes:
    return base64.b64decode(word, validate=True)


_CODECS: Iterable[tuple[Callable[[bytes], bytes], Callable[[bytes], bytes]]] = (
    (binascii.unhexlify, binascii.hexlify),
    (_from_base64, base64.b64encode),
)
