"""Where the benchmarks keep what they install, run and find out."""

from pathlib import Path

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
PEERS = HERE / "peers"
WORKPLACE = ROOT / ".lineshaft" / "bench"
ENVIRONMENTS = WORKPLACE / "environments"
SERVERS = WORKPLACE / "servers"
RESULTS = WORKPLACE / "results"
