"""The only room that speaks both our words and Binance Pay's.

`gateway.py` makes the calls and sorts their outcomes, `translation.py` turns Binance's words
into reports. Neither touches the database.
"""
