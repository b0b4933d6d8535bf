"""OpenBao, and Vault, whose API it keeps: its token store, its transit keys and its audit devices behind the seam."""
