"""Homes: made once, never overwritten, closed to others, and of one cluster only."""

import stat
from contextlib import AbstractContextManager
from pathlib import Path

import pytest

from bftnode.node.home import (
    Home,
    check_secrets,
    create_client_home,
    create_home,
    find_home,
    install_genesis,
    my_index,
    read_text,
    write_new,
)
from bftnode.node.identity import checkpoint_signer
from bftnode.protocol.cosigning import Cosigned, MemberCosignatures
from bftnode.protocol.errors import Reason, Refused
from bftnode.protocol.genesis import CosignatureKind, Genesis, Member, ParametersFile, make_genesis, parse_member
from bftnode.protocol.tlog.policy import check_checkpoint, parse_policy, write_policy

PEER, CLIENT = "a.example:7000", "a.example:7001"


def refused(reason: Reason = Reason.CONFIGURATION) -> AbstractContextManager[object]:
    return pytest.raises(Refused, match=f"^{reason}")


@pytest.fixture
def homes(tmp_path: Path) -> list[Home]:
    """Four members' homes."""
    found = [Home(tmp_path / f"org{i}") for i in range(4)]
    for i, home in enumerate(found):
        create_home(home.path, f"org-{i}", f"h{i}.example:7000", f"h{i}.example:7001")
    return found


@pytest.fixture
def genesis(homes: list[Home]) -> Genesis:
    return cluster(homes, "one")


def cluster(homes: list[Home], name: str) -> Genesis:
    members = [parse_member(home.member_path.read_text()) for home in homes]
    return make_genesis(name, "kv", [homes[0].load_identity().public_key.hex()], members, ParametersFile())


def test_a_new_home_has_everything_and_is_private(tmp_path: Path) -> None:
    """Keys, configuration, directories; the public part names what is in the keys."""
    member = create_home(tmp_path / "home", "org-1", PEER, CLIENT)
    home = Home(tmp_path / "home")
    identity = home.load_identity()
    assert isinstance(member, Member)
    assert parse_member(home.member_path.read_text()) == member
    assert bytes.fromhex(member.public_key) == identity.public_key
    assert home.load_config({}, {}).origins["peer.strangers_max"].startswith("file ")
    assert not list(home.data_path.iterdir())
    for path in (home.path, home.secrets_path, home.data_path):
        assert stat.S_IMODE(path.stat().st_mode) == 0o700
    for path in home.secrets_path.iterdir():
        assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_a_home_is_not_made_over_another(tmp_path: Path) -> None:
    """Not over a home, a file, or anything else that somebody put there."""
    create_home(tmp_path / "home", "org-1", PEER, CLIENT)
    with refused():
        create_home(tmp_path / "home", "org-1", PEER, CLIENT)
    with refused():
        create_client_home(tmp_path / "home", None)
    (tmp_path / "file").touch()
    with refused():
        create_home(tmp_path / "file", "org-1", PEER, CLIENT)


@pytest.mark.parametrize(
    ("name", "peer", "client", "said"),
    [
        ("Org", PEER, CLIENT, "the name 'Org'"),
        ("a\nb", PEER, CLIENT, "the name 'a\\nb'"),
        ("org", "nowhere", CLIENT, "the peer address"),
        ("org", PEER, "a.example:70000", "is not host:port"),
    ],
)
def test_words_that_a_genesis_would_not_take_are_refused_first(
    tmp_path: Path, name: str, peer: str, client: str, said: str
) -> None:
    """Nothing is made, so that the same command can be corrected and repeated."""
    with pytest.raises(Refused) as caught:
        create_home(tmp_path / "home", name, peer, client)
    assert said in caught.value.detail
    assert not (tmp_path / "home").exists()


@pytest.mark.covers("O15")
@pytest.mark.parametrize("file", ["signing.key", "tls.key", "tls.crt", "."])
@pytest.mark.parametrize("mode", [0o040, 0o004, 0o020, 0o001])
def test_secrets_that_others_may_touch_are_refused_by_name(tmp_path: Path, file: str, mode: int) -> None:
    """Whatever bit it is, and also for the directory."""
    create_home(tmp_path / "home", "org-1", PEER, CLIENT)
    home = Home(tmp_path / "home")
    path = home.secrets_path / file
    path.chmod(stat.S_IMODE(path.stat().st_mode) | mode)
    with pytest.raises(Refused) as caught:
        home.load_identity()
    assert caught.value.reason is Reason.CONFIGURATION
    assert str(path) in caught.value.detail
    assert "chmod" in caught.value.detail


@pytest.mark.covers("O15")
def test_a_loose_file_beside_the_keys_is_refused(tmp_path: Path) -> None:
    """A copy that somebody left there is a key too."""
    create_home(tmp_path / "home", "org-1", PEER, CLIENT)
    copy = Home(tmp_path / "home").secrets_path / "signing.key.bak"
    copy.touch()
    copy.chmod(0o644)
    with pytest.raises(Refused, match=r"signing\.key\.bak"):
        check_secrets(copy.parent)


def test_missing_secrets_are_refused_by_name(tmp_path: Path) -> None:
    """Not a traceback."""
    with pytest.raises(Refused, match="secrets: No such file"):
        check_secrets(tmp_path / "secrets")


def test_the_genesis_goes_into_the_homes_of_its_members(homes: list[Home], genesis: Genesis) -> None:
    """Twice is once; each home finds its own place in it."""
    for home in homes:
        install_genesis(home, genesis)
        install_genesis(home, genesis)
        assert home.load_genesis() == genesis
    places = [my_index(genesis, home.load_identity()) for home in homes]
    assert sorted(places) == [0, 1, 2, 3]


def test_a_home_has_one_cluster(homes: list[Home], genesis: Genesis) -> None:
    """Another genesis is refused while one is there: data/ belongs to the first."""
    install_genesis(homes[0], genesis)
    with pytest.raises(Refused, match="differs"):
        install_genesis(homes[0], cluster(homes, "two"))
    assert homes[0].load_genesis() == genesis


def test_keys_that_are_no_member_get_no_genesis(tmp_path: Path, genesis: Genesis) -> None:
    """A stranger's home, and one whose certificate was made anew."""
    create_home(tmp_path / "stranger", "org-9", PEER, CLIENT)
    with pytest.raises(Refused, match="is no member"):
        install_genesis(Home(tmp_path / "stranger"), genesis)
    ours, other = Home(tmp_path / "org0").secrets_path, Home(tmp_path / "stranger").secrets_path
    for name in ("tls.key", "tls.crt"):
        (ours / name).write_bytes((other / name).read_bytes())
    with pytest.raises(Refused, match="not the certificate that the genesis pins"):
        install_genesis(Home(tmp_path / "org0"), genesis)


def test_a_client_home_has_a_key_and_a_genesis(tmp_path: Path, genesis: Genesis) -> None:
    """And nothing of a member."""
    public_key = create_client_home(tmp_path / "client", genesis)
    home = Home(tmp_path / "client")
    assert len(public_key) == 32
    assert home.load_genesis() == genesis
    assert [path.name for path in home.secrets_path.iterdir()] == ["client.key"]
    assert not home.data_path.exists()


def test_a_damaged_genesis_is_refused_with_its_file(homes: list[Home], genesis: Genesis) -> None:
    """The message names the file."""
    install_genesis(homes[0], genesis)
    homes[0].genesis_path.write_text("version = 2\n")
    with pytest.raises(Refused, match=r"genesis\.toml"):
        homes[0].load_genesis()


def test_the_flag_names_the_home_before_the_variable(tmp_path: Path) -> None:
    """An empty variable is none."""
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    assert find_home(tmp_path / "a", {"BFTNODE_HOME": str(tmp_path / "b")}).path == tmp_path / "a"
    assert find_home(None, {"BFTNODE_HOME": str(tmp_path / "b")}).path == tmp_path / "b"
    with pytest.raises(Refused, match="--home"):
        find_home(None, {"BFTNODE_HOME": ""})
    with pytest.raises(Refused, match="not a directory"):
        find_home(tmp_path / "c", {})


def test_files_are_written_whole_or_not_at_all(tmp_path: Path) -> None:
    """Never over another, and nothing is left beside them."""
    write_new(tmp_path / "file", "one")
    with pytest.raises(Refused, match="not overwritten"):
        write_new(tmp_path / "file", "two")
    assert (tmp_path / "file").read_text() == "one"
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_text_files_are_bounded(tmp_path: Path) -> None:
    """One byte more than allowed, or no text: refused by name."""
    (tmp_path / "long").write_bytes(b"x" * 11)
    (tmp_path / "binary").write_bytes(b"\xff")
    with pytest.raises(Refused, match="long: longer than 10 bytes"):
        read_text(tmp_path / "long", 10)
    with pytest.raises(Refused, match="binary: not UTF-8"):
        read_text(tmp_path / "binary", 10)


@pytest.mark.parametrize("kinds", [("ed25519",), ("ml-dsa-44",), ("ml-dsa-44", "ed25519")])
def test_members_keys_sign_checkpoints_that_the_policy_calls_valid(
    tmp_path: Path, kinds: tuple[CosignatureKind, ...]
) -> None:
    """Of every kind that a genesis may ask for: a quorum's are enough, one fewer, or one kind of two, are not."""
    homes = [Home(tmp_path / f"node{i}") for i in range(4)]
    made = [create_home(home.path, f"m{i}", f"a:{i + 1}", f"b:{i + 1}") for i, home in enumerate(homes)]
    genesis = make_genesis("keys", "kv", [made[0].public_key], made, ParametersFile(), kinds)
    keys, policy = genesis.checkpoint_keys(), parse_policy(write_policy(genesis.policy()).encode())
    identities = {my_index(genesis, home.load_identity()): home.load_identity() for home in homes}
    signers = [checkpoint_signer(identities[i], keys, i) for i in range(4)]
    by = [MemberCosignatures(i, one.cosign(7, bytes(32), 1000)) for i, one in enumerate(signers)]
    for one in by:
        assert keys.valid(one.member, 7, bytes(32), 1000, one.values)
        assert not keys.valid(one.member, 8, bytes(32), 1000, one.values)
        assert not keys.valid(one.member, 7, bytes(32), 1001, one.values)
        assert not keys.valid((one.member + 1) % 4, 7, bytes(32), 1000, one.values)
        assert not keys.valid(one.member, 7, bytes(32), 1000, one.values * 2)
    signature = signers[2].sign(7, bytes(32))
    good = Cosigned(1, 7, bytes(32), 1000, 2, signature, tuple(by[1:]))
    assert check_checkpoint(keys.note(good), policy).checkpoint == keys.checkpoint(7, bytes(32))
    with pytest.raises(Refused):
        check_checkpoint(keys.note(Cosigned(1, 7, bytes(32), 1000, 2, signature, tuple(by[2:]))), policy)
