"""From videos to features: the catalogue, its segments, and the Ray Data job that processes them."""
