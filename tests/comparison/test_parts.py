"""What the systems' own tools and /proc say, and how it is read."""

import contextlib
import json
import ssl
from pathlib import Path

import pytest

from comparison.calibration import calibrate, filesystem_of
from comparison.certificates import create
from comparison.etcd import leader_of
from comparison.failures import Failed
from comparison.members import linked, primary_of
from comparison.packages import planned, run
from comparison.processes import Sample, busy_seconds, cpu_seconds, resident_mb, spent_between

APT = """\
NOTE: This is only a simulation!
Inst golang-1.19-go (1.19.8-2 Debian:12.9/oldstable [amd64])
Inst etcd-server [3.4.1] (3.4.23-4+b4 Debian:12.9/oldstable [amd64]) []
Conf etcd-server (3.4.23-4+b4 Debian:12.9/oldstable [amd64])
"""


def test_apt_tells_names_and_versions() -> None:
    """The version that would be, not the one that is."""
    assert planned(APT) == {"golang-1.19-go": "1.19.8-2", "etcd-server": "3.4.23-4+b4"}


def test_a_command_that_fails_or_is_missing_says_so() -> None:
    """With its last words."""
    with pytest.raises(Failed, match=r"sh -c .* has failed:\n  no such thing"):
        run(["sh", "-c", "echo no such thing >&2; exit 3"])
    with pytest.raises(Failed, match="/nowhere/at/all"):
        run(["/nowhere/at/all"])


def test_the_leader_of_etcd() -> None:
    """It names itself; ids are larger than a double holds."""
    rows = [
        {"Endpoint": f"https://127.0.0.1:{i}", "Status": {"header": {"member_id": 2**63 + i}, "leader": 2**63 + 2}}
        for i in range(3)
    ]
    assert leader_of(json.dumps(rows)) == "https://127.0.0.1:2"
    with pytest.raises(ValueError, match="nobody"):
        leader_of(json.dumps(rows[:2]))


def status(primary: int, connected: int = 3) -> str:
    rows = [
        {
            "reachable": True,
            "name": f"node{i}",
            "member": i,
            "primary": primary,
            "peers": [{"connected": peer < connected} for peer in range(3)],
        }
        for i in range(4)
    ]
    return "\n".join(map(json.dumps, rows))


def test_the_primary_of_bftnode() -> None:
    """It names itself; when it does not answer, nobody does."""
    assert primary_of(status(2)) == "node2"
    with pytest.raises(ValueError, match="nobody"):
        primary_of('{"reachable": false, "name": "node2"}')


def test_members_are_linked_when_all_are_with_all() -> None:
    """Three of them, or two links each, are not enough."""
    assert linked(status(0))
    assert not linked(status(0, connected=2))
    assert not linked("\n".join(status(0).splitlines()[:3]))
    assert not linked("")


def test_cpu_and_memory_out_of_proc() -> None:
    """A command's name may hold anything, so fields are counted behind it."""
    fields = ["S", *["0"] * 10, "150", "50", "7", "8"]
    assert cpu_seconds(f"12 (a ) b) {' '.join(fields)}") == pytest.approx(2.0)
    assert resident_mb("VmPeak:\t 9 kB\nVmRSS:\t  100000 kB\n") == pytest.approx(102.4)
    assert resident_mb("Name: kernel thread\n") == 0.0
    assert busy_seconds("cpu  100 0 50 1000 20 5 5 40 0 0\ncpu0 ...") == pytest.approx(2.0)


def test_cpu_is_counted_inside_a_stretch() -> None:
    """From the first to the last sample in it; others' is what is left of the machine's."""
    samples = [Sample(at, at * 1.5, at * 2.0) for at in (0.0, 1.0, 2.0, 3.0, 4.0)]
    spent = spent_between(samples, 0.5, 3.5)
    assert spent is not None
    assert (spent.ours, spent.others) == (1.5, 0.5)
    assert spent_between(samples, 3.5, 4.0) is None


def test_a_disk_in_memory_is_refused() -> None:
    """The nearest mount above decides."""
    mounts = "/dev/vda / ext4 rw 0 0\ntmpfs /run tmpfs rw 0 0\n/dev/vdb /run/disk xfs rw 0 0\n"
    assert filesystem_of(Path("/srv/data"), mounts) == "ext4"
    assert filesystem_of(Path("/run/disk/data"), mounts) == "xfs"
    with pytest.raises(Failed, match="tmpfs"):
        filesystem_of(Path("/run/data"), mounts)


def test_the_calibration_measures_something(tmp_path: Path) -> None:
    """Rates, of this machine."""
    found = calibrate(tmp_path)
    assert min(found.verifications_per_s, found.signatures_per_s, found.synced_writes_per_s) > 1
    assert list(tmp_path.iterdir()) == []


def test_certificates_are_good_for_both_sides(tmp_path: Path) -> None:
    """For 127.0.0.1: a handshake in which each demands the other's."""
    made = create(tmp_path)
    assert made.key.stat().st_mode & 0o077 == 0
    server, client = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER), ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    for context in (server, client):
        context.load_cert_chain(made.certificate, made.key)
        context.load_verify_locations(made.authority)
        context.verify_mode = ssl.CERT_REQUIRED
    up, down = ssl.MemoryBIO(), ssl.MemoryBIO()
    ends = [client.wrap_bio(down, up, server_hostname="127.0.0.1"), server.wrap_bio(up, down, server_side=True)]
    for end in [*ends, *ends]:
        with contextlib.suppress(ssl.SSLWantReadError):
            end.do_handshake()
    assert [end.version() for end in ends] == ["TLSv1.3", "TLSv1.3"]
    assert ends[1].getpeercert()
