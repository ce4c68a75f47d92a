"""Ray: the connection to a cluster, tasks, and groups of workers that train together."""
