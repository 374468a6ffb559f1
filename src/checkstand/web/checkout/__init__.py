"""The shopper's page: what is to be paid, how, by when, and whether it has been.

`page.checkout_routes` is the door; `view` is what it needs to be told (a port that queries and
operations implement), `qr.draw_qr` draws the code. Everything else serves these three.
"""
