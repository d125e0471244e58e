"""Images: from files and databases to what a network reads, and back to pictures."""
