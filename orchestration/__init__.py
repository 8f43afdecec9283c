"""Fleetmart: from raw device files to published, audited marts."""
