"""What was found, for a person: the HTML report, and videos with overlays."""
