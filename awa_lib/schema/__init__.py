"""The schema: migration scripts, how they are applied, and the roles."""
