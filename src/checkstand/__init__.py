"""Checkstand: the counter where a shop takes Binance Pay.

The rooms are described in ARCHITECTURE.md; nothing is imported here, so that
`import checkstand.binance` stays as light as the SDK alone.
"""
