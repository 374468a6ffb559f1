"""The HTTP API for shops: translates between JSON and operations, and decides nothing."""
