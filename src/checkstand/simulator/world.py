"""Everything one simulator consists of, handed to whoever acts in it."""

from dataclasses import dataclass

from checkstand.simulator.ambient import Randomness
from checkstand.simulator.clock import SimulatedClock
from checkstand.simulator.faults import FaultBook
from checkstand.simulator.postman import Postman
from checkstand.simulator.settings import Settings
from checkstand.simulator.signing import KeyRing
from checkstand.simulator.store import Store


@dataclass(frozen=True, slots=True, kw_only=True)
class World:
    """One simulator's parts."""

    base_url: str  # how payers reach it: no slash at the end
    settings: Settings
    clock: SimulatedClock
    store: Store
    keys: KeyRing
    faults: FaultBook
    randomness: Randomness
    postman: Postman
