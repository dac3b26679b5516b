"""This process and others: signals, worker processes, standard streams."""
