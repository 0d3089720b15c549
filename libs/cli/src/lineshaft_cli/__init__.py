"""The `lineshaft` command: run the system on this machine, and talk to one that runs."""
