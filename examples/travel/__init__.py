"""A travel agency: flight, hotel and car at the same time, then the money. All or nothing."""
