"""When it is done: the table of duties, and the worker that goes through it."""
