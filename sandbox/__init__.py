"""A bank and a carrier to practise with: processes of their own, with stores of their own.

The shop does not know this package; it meets them over HTTP, as it would meet the real ones.
"""
