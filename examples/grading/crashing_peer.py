"""A crashing peer in plain Python: one connection at a time, and no thought of what can go wrong.

    python crashing_peer.py share PORT DIR            serve the files of DIR
    python crashing_peer.py get TRACKER DIR NAME...   fetch files from whoever the tracker at HOST:PORT names

What is wrong with it, `osp2p grade` tells; docs/grading.md shows how.
"""

from __future__ import annotations

import os
import socket
import sys
from urllib.parse import quote, unquote


def answer(connection: socket.socket, directory: str) -> None:
    line = connection.makefile("r").readline()
    verb, name, version = line.split()
    assert (verb, version) == ("GET", "OSP2P")
    name = os.path.basename(unquote(name))
    with open(os.path.join(directory, name), "rb") as file:
        connection.sendall(file.read())


def share(port: int, directory: str) -> None:
    listener = socket.create_server(("127.0.0.1", port))
    while True:
        connection, _ = listener.accept()
        with connection:
            connection.settimeout(5)
            answer(connection, directory)


def ask(tracker: str, command: str) -> list[str]:
    host, port = tracker.split(":")
    with socket.create_connection((host, int(port)), timeout=5) as connection:
        lines = connection.makefile("rw")
        while lines.readline()[3] != " ":
            pass
        lines.write(command + "\n")
        lines.flush()
        answer = []
        while not (line := lines.readline())[:3].isdigit():
            answer.append(line)
        return answer


def get(tracker: str, directory: str, name: str) -> None:
    _, _, address = ask(tracker, "WANT " + quote(name))[0].split()
    host, port = address.split(":")
    with socket.create_connection((host, int(port)), timeout=5) as connection:
        connection.sendall(f"GET {quote(name)} OSP2P\n".encode())
        data = connection.recv(65536)
        with open(os.path.join(directory, os.path.basename(name)), "wb") as file:
            while data:
                file.write(data)
                data = connection.recv(65536)
    print(name, "is here")


if __name__ == "__main__":
    if len(sys.argv) < 4 or sys.argv[1] not in ("share", "get"):
        sys.exit(f"usage: {sys.argv[0]} share PORT DIR, or {sys.argv[0]} get TRACKER DIR NAME...")
    if sys.argv[1] == "share":
        share(int(sys.argv[2]), sys.argv[3])
    for name in sys.argv[4:]:
        get(sys.argv[2], sys.argv[3], name)
