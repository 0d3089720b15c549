"""Run the whole system on one machine: servers, services, supervision."""
