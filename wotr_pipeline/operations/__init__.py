"""What operators do, as functions that jobs and the command line share."""
