"""Everything that writes, one module per noun; functions are named ``<entity>_<action>``."""
