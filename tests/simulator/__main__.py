"""One simulated town, by its seed: `python -m tests.simulator SEED [--seconds N] [--who PEER] [--last N]`.

Says what was asked and answered last, and what went wrong, if anything did. The same seed gives the same history.
"""

from __future__ import annotations

import argparse
import logging
from collections import deque

from tests.simulator.test_simulation import SECONDS, town
from tests.simulator.watch import Violation
from tests.simulator.world import World


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.simulator", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("seed", type=int)
    parser.add_argument("--seconds", type=float, default=SECONDS, help="of virtual time before it comes to rest")
    parser.add_argument("--who", default="", help="only this one's calls")
    parser.add_argument("--last", type=int, default=20, help="so many of them")
    options = parser.parse_args()
    logging.disable(logging.CRITICAL)
    heard: deque[str] = deque(maxlen=options.last)

    def listen(world: World, who: str, asked: str, answered: str) -> None:
        if options.who in ("", who):
            heard.append(f"{world.steps:>6} {world.clock.monotonic():9.2f} {who:<15} {asked[:200]} -> {answered[:300]}")

    try:
        world = town(options.seed, options.seconds, listen=listen)
    except Violation as fault:
        print(*heard, f"\n{fault}", sep="\n")
        return 1
    print(*heard, f"\n{world.history()}: {world.steps} steps, {world.watch.seq} events, {world.answers}, {world.befell}", sep="\n")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
