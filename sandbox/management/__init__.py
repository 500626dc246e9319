"""Management of the stand-in."""
