"""The doors for browsers and programs. They translate; what happens is in operations."""
