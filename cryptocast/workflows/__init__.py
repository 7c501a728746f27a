"""One file a verb: calls rooms in order and returns a frozen report; prints nothing."""
