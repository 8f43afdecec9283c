"""What must hold before anybody sees a build."""
