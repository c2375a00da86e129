from tests.sandbox.processes import bank, bank_process, carrier, carrier_process

__all__ = ["bank", "bank_process", "carrier", "carrier_process"]
