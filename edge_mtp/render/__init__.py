"""Self-contained HTML pages from the JSON that the commands write."""
