"""Jobs before they are inserted: checked, encoded, with their kind and unique key."""
