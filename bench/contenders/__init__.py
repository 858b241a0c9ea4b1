"""The contenders: each a script of its own, run as ``python -m bench.contenders.NAME CONNINFO FILE...``."""
