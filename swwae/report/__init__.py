"""One HTML page that shows whole runs."""
