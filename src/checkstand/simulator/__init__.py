"""A stand-in for Binance Pay with memory, faults and a clock, since merchants get no sandbox.

It repeats the signature check and the wire shapes from the protocol reference on purpose and
imports nothing of ours from outside this room: as the only judge it must not share a mistake
with the SDK. `README.md` beside this file says what it does and what it does not imitate.
"""
