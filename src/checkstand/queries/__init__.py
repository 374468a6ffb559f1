"""What can be asked: read-only rows for pages, lists and reports. Nothing here decides."""
