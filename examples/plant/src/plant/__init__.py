"""A customer's application: a small MES that runs on Lineshaft, as an example to read."""
