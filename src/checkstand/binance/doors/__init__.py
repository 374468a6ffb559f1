"""Doors for the frameworks people have: they take the raw body, verify, handle once, acknowledge.

    from checkstand.binance.doors.starlette import notification_endpoint   # FastAPI too
    from checkstand.binance.doors.django import notification_view
    from checkstand.binance.doors.flask import notification_view

What they share is in `receiving.py` (and its generated twin); the memory of what was handled is a
protocol of three methods, in `replays.py`. No framework is imported before its door is made.
"""
