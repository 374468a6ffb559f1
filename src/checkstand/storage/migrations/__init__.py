"""The schema's history, as numbered SQL files."""
