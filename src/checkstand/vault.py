"""Secrets at rest: AES-256-GCM under the secret key, each ciphertext bound to its place.

A ciphertext names the key that made it, so that keys can be rotated: the first key encrypts,
every loaded key decrypts. The associated data is account, row and column, so a ciphertext
moved to another row does not open.
"""

import base64
import hashlib
from collections.abc import Sequence
from uuid import UUID

from cryptography.exceptions import InvalidSignature, InvalidTag
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from checkstand.ambient import Random
from checkstand.errors import Refused

_NONCE_BYTES = 12
_KEY_NAME_BYTES = 4


class Vault:
    """Encrypts and decrypts the secrets that rows hold."""

    def __init__(self, secret_keys: Sequence[str], random: Random) -> None:
        if not secret_keys:
            raise ValueError("a vault needs at least one secret key")
        self._ciphers = {_name_of(key): AESGCM(_derive(key, "vault")) for key in secret_keys}
        self._newest = _name_of(secret_keys[0])
        self._random = random
        self._signers = {_public_key_of(s): s for s in map(_signer_of, secret_keys)}
        #: Signs the forms of the checkout page; another purpose, so another key.
        self.form_key = _derive(secret_keys[0], "forms")

    def __repr__(self) -> str:
        return f"Vault({len(self._ciphers)} keys)"

    def encrypt(self, text: str, *, account_id: UUID, row_id: UUID, column: str) -> bytes:
        """Encrypt one secret for one place."""
        nonce = self._random.bytes(_NONCE_BYTES)
        place = _place(account_id, row_id, column)
        sealed = self._ciphers[self._newest].encrypt(nonce, text.encode(), place)
        return self._newest + nonce + sealed

    def decrypt(self, ciphertext: bytes, *, account_id: UUID, row_id: UUID, column: str) -> str:
        """Decrypt the secret of one place. Raises Refused when no loaded key made it."""
        name, rest = ciphertext[:_KEY_NAME_BYTES], ciphertext[_KEY_NAME_BYTES:]
        cipher = self._ciphers.get(name)
        if cipher is None:
            raise Refused(
                "secret_key_unknown",
                "a stored secret was encrypted under another CHECKSTAND_SECRET_KEY; "
                "set that key too (several are separated by commas, the newest first)",
            )
        nonce, sealed = rest[:_NONCE_BYTES], rest[_NONCE_BYTES:]
        try:
            return cipher.decrypt(nonce, sealed, _place(account_id, row_id, column)).decode()
        except (InvalidTag, ValueError) as error:  # altered, or cut short
            raise Refused(
                "secret_damaged", f"the stored {column} of {row_id} does not open"
            ) from error

    def sign(self, message: bytes) -> tuple[str, str]:
        """Sign a message with the newest key; return the public key and the signature as text."""
        public_key, signer = next(iter(self._signers.items()))
        return public_key, base64.b64encode(signer.sign(message)).decode()

    def is_ours(self, message: bytes, *, public_key: str, signature: str) -> bool:
        """Say whether a loaded key signed a message."""
        signer = self._signers.get(public_key)
        if signer is None:
            return False
        try:
            signer.public_key().verify(base64.b64decode(signature, validate=True), message)
        except (InvalidSignature, ValueError):
            return False
        return True


def _signer_of(secret_key: str) -> Ed25519PrivateKey:
    """Derive the key that signs closed days: anyone can verify with its public half."""
    return Ed25519PrivateKey.from_private_bytes(_derive(secret_key, "days"))


def _public_key_of(signer: Ed25519PrivateKey) -> str:
    return base64.b64encode(signer.public_key().public_bytes_raw()).decode()


def _derive(secret_key: str, purpose: str) -> bytes:
    return hashlib.sha256(f"checkstand {purpose}\n{secret_key}".encode()).digest()


def _name_of(secret_key: str) -> bytes:
    return hashlib.sha256(_derive(secret_key, "name")).digest()[:_KEY_NAME_BYTES]


def _place(account_id: UUID, row_id: UUID, column: str) -> bytes:
    return f"{account_id}/{row_id}/{column}".encode()
