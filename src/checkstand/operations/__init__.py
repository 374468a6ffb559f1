"""What can be done: one file for each verb, which owns its transactions and their order.

Two habits carry this room. Write the intention, then act from the record: a request leaves a
row, and work starts from rows. No network inside a transaction.
"""
