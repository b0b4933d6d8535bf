"""Any remote token service behind the seam: what is asked of it, and the record of every change before and after."""
