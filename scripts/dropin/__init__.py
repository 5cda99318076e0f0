"""The modules of scripts/dropin_table."""
