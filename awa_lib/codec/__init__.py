"""Values on their way into the database and back: arguments, JSON, Postgres text."""
