"""How much of the answers a page takes."""

LIMIT = 20_000
"""So many answers are put into the page, unless it is told otherwise."""
LONGEST = 8_000
"""Characters of an answer that are put into the page; the whole is in the log."""
