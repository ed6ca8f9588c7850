"""Counter-based random generators: a pure function of what they are for, so there is no state to save or restore."""

import hashlib

import numpy as np


def generator(*key: int | str) -> np.random.Generator:
    """A generator keyed by `key`, e.g. (seed, "shuffle", step, epoch). Equal keys give equal numbers."""
    digest = hashlib.blake2b("\0".join(map(str, key)).encode(), digest_size=16).digest()
    return np.random.Generator(np.random.Philox(key=int.from_bytes(digest, "little")))
