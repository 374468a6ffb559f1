"""The one-command demo: simulator, gateway and a sample shop, on a database of their own.

`stage.py` sets everything up, `purchase.py` buys something without a person, `shop.py` is the
shop. Nothing here is needed in production, and nothing of it is kept when it stops.
"""
