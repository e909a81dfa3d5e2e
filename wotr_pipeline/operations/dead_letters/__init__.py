"""Dead letters: entered, understood, repaired, sent again. Functions that jobs and ``wotr dlq`` share."""
