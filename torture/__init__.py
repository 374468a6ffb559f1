"""The deterministic simulation: gateways, workers, Binance and a shop in one process, tortured.

A seed makes a plan (what people do, and what breaks, when); the plan runs on virtual time over a
real PostgreSQL; afterwards the world must be in order by the simulator's own books. The same seed
runs the same way every time, to the last turn at the database door.

`python -m torture` says what it can do; `make torture` runs many seeds on both cores.
"""
