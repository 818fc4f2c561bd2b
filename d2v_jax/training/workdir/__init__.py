"""Files of a run's folder beside its checkpoints, and whose folder it is."""
