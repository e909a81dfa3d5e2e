"""How the bytes of backups are sealed: as age files, or not at all.

Belongs here: encrypting and decrypting parts. Does not belong here: who holds the keys; the recipient (public) is
enough for taking backups, the identity is needed by drills and restores, and neither is kept in the bucket.
Format: https://age-encryption.org/v1, so that ``age --decrypt`` opens a part too.
"""

from io import BytesIO

import pyrage

from ..config import Settings
from ..stores.errors import PermanentError

SUFFIX = ".age"


class Cipher:
    """Seals for the settings' recipient, and opens with the settings' identity."""

    def __init__(self, settings: Settings) -> None:
        self.recipient = settings.wotr_backup_recipient
        self._identity = settings.wotr_backup_identity.get_secret_value()

    @property
    def suffix(self) -> str:
        """What names of sealed objects end with."""
        return SUFFIX if self.recipient else ""

    def seal(self, data: bytes) -> bytes:
        """Encrypted, if there is a recipient.

        Raises:
            PermanentError: the recipient is none.
        """
        if not self.recipient:
            return data
        try:
            sealed: bytes = pyrage.encrypt(data, [pyrage.x25519.Recipient.from_str(self.recipient)])
        except pyrage.RecipientError:
            raise PermanentError(
                "WOTR_BACKUP_RECIPIENT is no age recipient: age1… as age-keygen prints it."
            ) from None
        return sealed

    def seal_file(self, file: BytesIO) -> BytesIO:
        """What ``seal`` makes of a file's bytes; without a recipient the file itself, not a copy of it."""
        return BytesIO(self.seal(file.getvalue())) if self.recipient else file

    def open(self, data: bytes, key: str) -> bytes:
        """The plain bytes of the object ``key``, whose name says whether it is sealed.

        Raises:
            PermanentError: the identity is missing or another one, or the object is damaged.
        """
        if not key.endswith(SUFFIX):
            return data
        if not self._identity:
            raise PermanentError(
                f"{key} is encrypted and WOTR_BACKUP_IDENTITY is empty. Set it to the identity that belongs to the "
                "recipient (AGE-SECRET-KEY-1…), for this command only."
            )
        try:
            plain: bytes = pyrage.decrypt(data, [pyrage.x25519.Identity.from_str(self._identity)])
        except pyrage.IdentityError:
            raise PermanentError("WOTR_BACKUP_IDENTITY is no age identity: AGE-SECRET-KEY-1….") from None
        except pyrage.DecryptError:
            raise PermanentError(
                f"{key} cannot be decrypted: WOTR_BACKUP_IDENTITY is not the one it was encrypted for, or the object "
                "is damaged. Try the right identity; if it is, use another backup."
            ) from None
        return plain
