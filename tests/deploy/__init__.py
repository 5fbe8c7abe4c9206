"""What deploy/ promises: the chart, the unit of systemd, the image."""
