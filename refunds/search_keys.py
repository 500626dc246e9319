"""Search keys: how a text is written down so that a prefix of it can be found whatever its case.

Pure: the same function writes the keys of an order and reads what a rep typed, so the two agree.
"""

import unicodedata

#: The highest code point: closes the range of all texts that start with a prefix.
_LAST = "\U0010ffff"
#: Keys are cut to this many characters: taking letters apart can make a text longer.
_LONGEST = 255


def search_key(text: str) -> str:
    """Return the text without case, accents, extra spaces: “ Müller,  ANNA” → “muller, anna”."""
    if text.isascii():
        # Most of a million orders' keys: nothing to take apart.
        return " ".join(text.replace("\x00", "").lower().split())[:_LONGEST]
    decomposed = unicodedata.normalize("NFKD", text)
    bare = "".join(mark for mark in decomposed if not unicodedata.combining(mark))
    return " ".join(bare.replace("\x00", "").casefold().split())[:_LONGEST]


def surname_key(name: str) -> str:
    """Return the key of a name with its last word first: “Jörg Müller” → “muller jorg”.

    A caller gives the surname; names of one word have no second key.
    """
    first, separator, last = search_key(name).rpartition(" ")
    return f"{last} {first}" if separator else ""


def prefix_range(prefix: str) -> tuple[str, str]:
    """Return the bounds (first included, last excluded) of all keys that start with the prefix."""
    return prefix, prefix + _LAST
