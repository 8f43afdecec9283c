"""What a text looks like, without what it says: enough to see why it could not be read, too little to know it."""

import unicodedata

LONGEST = 40
LETTERS, NUMBERS, SIGNS = "L", "N", "PSZ"


def masked(text: str | None) -> str | None:
    """The text's shape: letters as `a` or `A`, digits as `9`, punctuation, blanks and signs as they are.

    Whatever is none of these, such as a line's end or half of a letter, is `?`. Of a longer text, its beginning.
    """
    return None if text is None else "".join(map(_masked, text[:LONGEST]))


def _masked(character: str) -> str:
    kind = unicodedata.category(character)[0]
    if kind in LETTERS:
        return "A" if character.isupper() else "a"
    if kind in NUMBERS:
        return "9"
    return character if kind in SIGNS else "?"
