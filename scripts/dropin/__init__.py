"""The parts of scripts/dropin_table."""
