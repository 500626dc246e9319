"""Commands of the stand-in."""
