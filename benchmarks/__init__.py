"""How fast it is: ratios in one run, on servers of their own. ``make bench``; see docs/performance.md."""
