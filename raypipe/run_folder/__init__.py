"""The run folder: storage, the commit protocol, run.json, and the tables of features and scores."""
