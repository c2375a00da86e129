"""What `manage.py up` runs: every part of the shop on one machine, for demonstration and development."""
