"""``fallline explore``: an address on stdout, an end by Ctrl-C, and complaints in a sentence."""

import os
import signal
import subprocess
import sys
import urllib.request

import pytest
from click.testing import CliRunner

from fallline.cli.main import main


def test_the_address_is_printed_and_ctrl_c_ends_it_cleanly(table):
    command = [sys.executable, "-m", "fallline", "explore", str(table), "--no-browser", "--token", "mine"]
    flags = {"creationflags": subprocess.CREATE_NEW_PROCESS_GROUP} if os.name == "nt" else {}
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, **flags) as process:
        address = process.stdout.readline().strip()
        assert address.startswith("http://127.0.0.1:")
        assert address.endswith("/?token=mine")
        with urllib.request.urlopen(address) as answer:
            assert answer.url.split("?")[0].endswith("/your-network")
        process.send_signal(signal.CTRL_BREAK_EVENT if os.name == "nt" else signal.SIGINT)
        out, err = process.communicate(timeout=60)
    assert (process.returncode, out) == (0, "")
    assert err.strip() == "Ctrl-C ends it."


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["nothing.csv"], "There is no file nothing.csv"),
        (["{table}", "--target", "heigth"], "height"),
        (["{table}", "--port", "1"], "--port"),
    ],
    ids=["no file", "no such target", "a port of the system"],
)
def test_what_is_wrong_is_said_in_a_sentence(table, arguments, says, monkeypatch):
    import socket

    def refuse(self, address):
        raise PermissionError(13, "Permission denied") if address[1] == 1 else None

    monkeypatch.setattr(socket.socket, "bind", refuse)
    done = CliRunner().invoke(main, ["explore", "--no-browser", *(each.format(table=table) for each in arguments)])
    assert done.exit_code == 1
    assert says in done.stderr
