"""What does the shards of a survey: this machine, or a cluster."""
