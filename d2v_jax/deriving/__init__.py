"""What a config leaves to be derived: from the data, and from the machine."""
