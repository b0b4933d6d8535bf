"""``doctor`` where the medium is full, read-only or small, and that it speaks to nobody."""

from __future__ import annotations

import subprocess

from tests.conftest import Cli
from tests.faults.conftest import ISSUE, Medium, under_strace


def _space(cli: Cli, code: int) -> dict[str, object]:
    done = cli("doctor", "-o", "json")
    assert (done.code, done.err) == (code, ""), done
    findings = done.json["findings"]
    assert [finding["check"] for finding in findings if finding["status"] == "fail" and finding["check"] != "space"] == []
    return next(finding for finding in findings if finding["check"] == "space")


def test_little_room_is_a_warning_and_none_a_failure(cli: Cli, medium: Medium):
    assert cli(*ISSUE).code == 0  # the medium is 1 MiB in all
    found = _space(cli, 7)
    assert (found["status"], found["detail"]) == ("fail", f"the medium of {cli.store.parent} is full; make room")
    medium.fill()
    assert _space(cli, 7) == found
    assert cli("issue", "--subject", "s").code == 7


def test_a_read_only_medium_fails_and_is_mended_by_the_printed_command(cli: Cli, medium: Medium):
    assert cli(*ISSUE).code == 0
    medium.read_only()
    found = _space(cli, 7)
    assert found["detail"] == f"{cli.home} is mounted read-only: nothing can be issued or revoked"
    assert cli("issue", "--subject", "s").code == 7
    assert found["mend"] == f"mount -o remount,rw {cli.home}"
    subprocess.run(["sh", "-c", str(found["mend"])], check=True)
    assert cli("issue", "--subject", "s").code == 0


def test_no_connection_is_opened(cli: Cli, tmp_path):
    assert cli(*ISSUE).code == 0
    trace = tmp_path / "trace"
    done = under_strace(cli, ["trace=connect,sendto,bind"], "doctor", output=trace)
    assert done.code == 0
    assert "AF_INET" not in trace.read_text()
