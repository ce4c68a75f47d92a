"""A rendered world: people and vehicles before a fixed camera, with everything known of them."""
