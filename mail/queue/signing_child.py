"""What a signing process runs: it reads an RSA key, then hashes, and answers each with its signature."""

import os
import sys
from typing import Any

from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.asymmetric.utils import Prehashed
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import load_der_private_key

DIGEST = 32  # octets of a hash
TOGETHER = 8  # signatures of one answer: the two processes wake each other less often


def main() -> None:
    """Sign until nobody asks any more."""
    first: Any = sys.stdin.buffer
    key: Any = load_der_private_key(first.read(int.from_bytes(first.read(4), "big")), None)
    padding, algorithm = PKCS1v15(), Prehashed(SHA256())
    asked = b""
    while received := first.read1(DIGEST * TOGETHER):
        asked += received
        signatures = []
        while len(asked) >= DIGEST:
            signatures.append(key.sign(asked[:DIGEST], padding, algorithm))
            asked = asked[DIGEST:]
        os.write(sys.stdout.fileno(), b"".join(signatures))


if __name__ == "__main__":
    main()
