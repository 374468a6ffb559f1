"""Tells the merchant's own server what happened: the second of our two ways out over HTTP.

`signing` proves who speaks, `targets` says where we may speak, `sender` speaks (the door), and
`schedule` says when to try again. Which event goes to which endpoint, and what is recorded about
it, is for the operations.
"""
