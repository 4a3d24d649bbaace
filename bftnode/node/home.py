"""A home: the one directory of a member, or of a client, and which file in it is what.

    config/node.toml       the daemon's configuration (config.py); may be absent: all defaults
    config/genesis.toml    who the members are; every member has the same file
    secrets/               0700; signing.key, log.key, log-ml-dsa-44.key, tls.key, tls.crt (identity.py), client.key;
                           files 0600
    data/                  what survives a crash (bftnode.storage)
    witness/               the last checkpoint of each log that this member is a witness for (web/witness.py)
    member.toml            the public part that goes to whoever assembles the genesis

A client's home has a genesis and client.key only. Made once, never overwritten. docs/operations.md,
"Configuration and home".
"""

import os
import stat
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import msgspec

from bftnode.node.config import Loaded, default_toml, host_and_port, load_config
from bftnode.node.identity import Identity, create_client_key, create_identity, load_identity
from bftnode.protocol.errors import Reason, Refused
from bftnode.protocol.genesis import (
    GENESIS_BYTES_MAX,
    Address,
    Genesis,
    Member,
    Name,
    certificate_pin,
    parse_genesis,
    write_genesis,
    write_member,
)

HOME_VARIABLE = "BFTNODE_HOME"
CLIENT_KEY = "client.key"
SECRET_FILES_MAX = 1000
"""A secrets/ with more entries is refused: it is something else."""


@dataclass(frozen=True, slots=True)
class Home:
    """Where things are. Nothing is read or made until it is asked for."""

    path: Path

    @property
    def config_path(self) -> Path:
        return self.path / "config" / "node.toml"

    @property
    def genesis_path(self) -> Path:
        return self.path / "config" / "genesis.toml"

    @property
    def secrets_path(self) -> Path:
        return self.path / "secrets"

    @property
    def client_key_path(self) -> Path:
        return self.secrets_path / CLIENT_KEY

    @property
    def data_path(self) -> Path:
        return self.path / "data"

    @property
    def witness_path(self) -> Path:
        return self.path / "witness"

    @property
    def member_path(self) -> Path:
        return self.path / "member.toml"

    def load_config(self, environment: Mapping[str, str], flags: Mapping[str, str]) -> Loaded:
        """Raises Refused(CONFIGURATION)."""
        return load_config(self.config_path, environment, flags)

    def load_genesis(self) -> Genesis:
        """Raises Refused(CONFIGURATION) naming the file."""
        return load_genesis(self.genesis_path)

    def load_identity(self) -> Identity:
        """This member's keys, after a look at every file beside them. Raises Refused(CONFIGURATION)."""
        check_secrets(self.secrets_path)
        return load_identity(self.secrets_path)


def find_home(flag: Path | None, environment: Mapping[str, str]) -> Home:
    """The home that --home or BFTNODE_HOME names. Raises Refused(CONFIGURATION) if neither does or it is not there."""
    path = named_home(flag, environment)
    if path is None:
        raise Refused(Reason.CONFIGURATION, f"no home is named: use --home DIR or set {HOME_VARIABLE}")
    if not path.is_dir():
        raise Refused(Reason.CONFIGURATION, f"{path} is not a directory; `bftnode init` makes a home")
    return Home(path)


def named_home(flag: Path | None, environment: Mapping[str, str]) -> Path | None:
    """The flag wins; an empty variable counts as unset, as everywhere in a shell."""
    if flag is not None:
        return flag
    named = environment.get(HOME_VARIABLE, "")
    return Path(named) if named else None


def create_home(path: Path, name: str, peer_address: str, client_address: str) -> Member:
    """A member's home with new keys; returns its public part, which is also in member.toml.

    Raises Refused(CONFIGURATION) if there is something already, or a name or address is none; OSError.
    """
    check_member_words(name, peer_address, client_address)
    return publish_member(Home(path), create_keys(path, name), name, peer_address, client_address)


def create_keys(path: Path, certificate_name: str) -> Identity:
    """The first half of `create_home`: all but member.toml. Raises as it does."""
    home = Home(path)
    _create_directories(home)
    identity = create_identity(home.secrets_path, certificate_name)
    home.data_path.mkdir(mode=0o700)
    write_new(home.config_path, default_toml())
    return identity


def publish_member(home: Home, identity: Identity, name: str, peer_address: str, client_address: str) -> Member:
    """The second half: the public part, in member.toml. Raises as `create_home`."""
    check_member_words(name, peer_address, client_address)
    member = member_of(identity, name, peer_address, client_address)
    write_new(home.member_path, write_member(member))
    return member


def member_of(identity: Identity, name: str, peer_address: str, client_address: str) -> Member:
    """The public part of these keys, under a name and at addresses that were checked."""
    return Member(
        name,
        identity.public_key.hex(),
        identity.log_public_key.hex(),
        identity.certificate_pem,
        peer_address,
        client_address,
        identity.ml_dsa_public_key.hex(),
    )


def create_client_home(path: Path, genesis: Genesis | None) -> bytes:
    """A client's home with a new key; returns the public key. Raises as `create_home`."""
    home = Home(path)
    _create_directories(home)
    home.secrets_path.mkdir(mode=0o700)
    public_key = create_client_key(home.client_key_path)
    if genesis is not None:
        write_new(home.genesis_path, write_genesis(genesis))
    return public_key


def check_member_words(name: str, peer_address: str, client_address: str) -> None:
    """Raises Refused(CONFIGURATION) naming the word that the genesis would not take."""
    for what, word, kind, form in (
        ("name", name, Name, "a-z, 0-9 and -, at most 63 of them"),
        ("peer address", peer_address, Address, "host:port"),
        ("client address", client_address, Address, "host:port"),
    ):
        try:
            msgspec.convert(word, kind)
        except msgspec.ValidationError:
            raise Refused(Reason.CONFIGURATION, f"the {what} {word!r} is not {form}") from None
        if kind is Address:
            host_and_port(word)


def install_genesis(home: Home, genesis: Genesis) -> None:
    """Put the genesis into a home, durably. The same one again does nothing.

    Raises Refused(CONFIGURATION) if another one is there, or this home's keys are no member of it; OSError.
    """
    if (home.secrets_path / "signing.key").exists():
        my_index(genesis, home.load_identity())
    if home.genesis_path.exists():
        if home.load_genesis() == genesis:
            return
        raise Refused(Reason.CONFIGURATION, f"{home.genesis_path} is there already and differs; a home has one cluster")
    write_new(home.genesis_path, write_genesis(genesis))


def my_index(genesis: Genesis, identity: Identity) -> int:
    """Which member these keys are. Raises Refused(CONFIGURATION) if none, or with another certificate or log key."""
    key = identity.public_key.hex()
    for index, member in enumerate(genesis.members):
        if member.public_key == key:
            if certificate_pin(member.tls_certificate) != certificate_pin(identity.certificate_pem):
                raise Refused(
                    Reason.CONFIGURATION,
                    f"{identity.certificate_path} is not the certificate that the genesis pins for {member.name}",
                )
            if member.log_key != identity.log_public_key.hex() or member.ml_dsa_key not in (
                None,
                identity.ml_dsa_public_key.hex(),
            ):
                raise Refused(
                    Reason.CONFIGURATION, f"the log keys in this home are not those of {member.name} in the genesis"
                )
            return index
    raise Refused(Reason.CONFIGURATION, f"the key {key} is no member of the genesis of {genesis.name}")


def load_genesis(path: Path) -> Genesis:
    """Raises Refused(CONFIGURATION | AUTH_WEAK_KEY) naming the file."""
    text = read_text(path, GENESIS_BYTES_MAX)
    try:
        return parse_genesis(text)
    except Refused as refused:
        raise Refused(refused.reason, f"{path}: {refused.detail}") from None


def check_secrets(path: Path) -> None:
    """Refuse a secrets directory that others may enter, or any file in it that they may read (faults.md O15).

    Raises Refused(CONFIGURATION) naming what is too open.
    """
    try:
        entries = [path, *sorted(path.iterdir())]
        if len(entries) > SECRET_FILES_MAX:
            raise Refused(Reason.CONFIGURATION, f"{path} holds more than {SECRET_FILES_MAX} files")
        modes = [(entry, entry.lstat().st_mode) for entry in entries]
    except OSError as error:
        raise Refused(Reason.CONFIGURATION, f"{error.filename}: {error.strerror}") from None
    for entry, mode in modes:
        # A link's own mode means nothing; what it points to is checked when it is opened.
        if mode & (stat.S_IRWXG | stat.S_IRWXO) and not stat.S_ISLNK(mode):
            right = "700" if stat.S_ISDIR(mode) else "600"
            raise Refused(
                Reason.CONFIGURATION, f"{entry} is open to others (mode {mode & 0o777:04o}); chmod {right} {entry}"
            )


def read_text(path: Path, bytes_max: int) -> str:
    """A text file of bounded length. Raises Refused(CONFIGURATION) naming it."""
    try:
        with open(path, "rb") as file:
            raw = file.read(bytes_max + 1)
    except OSError as error:
        raise Refused(Reason.CONFIGURATION, f"{path}: {error.strerror}") from None
    if len(raw) > bytes_max:
        raise Refused(Reason.CONFIGURATION, f"{path}: longer than {bytes_max} bytes")
    try:
        return raw.decode("utf-8")
    except UnicodeDecodeError:
        raise Refused(Reason.CONFIGURATION, f"{path}: not UTF-8 text") from None


def write_new(path: Path, text: str) -> None:
    """Write a file durably, whole or not at all, never over another. Raises Refused(CONFIGURATION); OSError."""
    temporary = path.with_name(f".{path.name}.new")
    temporary.unlink(missing_ok=True)
    with open(temporary, "x", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    try:
        os.link(temporary, path)  # unlike a rename it never replaces what is there
    except FileExistsError:
        raise Refused(Reason.CONFIGURATION, f"{path} exists; it is not overwritten") from None
    finally:
        temporary.unlink()
    descriptor = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _create_directories(home: Home) -> None:
    if home.path.exists() and (not home.path.is_dir() or any(home.path.iterdir())):
        raise Refused(Reason.CONFIGURATION, f"{home.path} is not an empty directory; a home is made in a new one")
    home.path.mkdir(mode=0o700, parents=True, exist_ok=True)
    home.config_path.parent.mkdir(mode=0o700)
