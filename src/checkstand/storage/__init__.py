"""What is written down: one module for each family of tables, and the database door.

Storage never commits and never decides. Its functions take the transaction first, which says
"in the caller's", take sequences, and guard their writes.
"""
