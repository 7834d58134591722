"""A naive peer in plain Python: it works as long as everybody is friendly.

    python naive_peer.py share PORT DIR            serve the files of DIR
    python naive_peer.py get TRACKER DIR NAME...   fetch files from whoever the tracker at HOST:PORT names

What is wrong with it, `osp2p grade` tells; docs/grading.md shows how.
"""

from __future__ import annotations

import os
import socket
import sys
from urllib.parse import quote, unquote


def share(port: int, directory: str) -> None:
    listener = socket.create_server(("127.0.0.1", port))
    while True:
        connection, _ = listener.accept()
        try:
            request = b""
            while b"\n" not in request:
                request += connection.recv(4096)
                if not request:
                    break
            verb, name, version = request.decode("latin-1").split()
            if verb == "GET" and version == "OSP2P":
                with open(os.path.join(directory, unquote(name)), "rb") as file:
                    while block := file.read(65536):
                        connection.sendall(block)
            else:
                connection.sendall(b"500 what?\n")
        except (OSError, ValueError):
            pass  # it is only one connection
        connection.close()


def ask(tracker: str, command: str) -> list[str]:
    host, port = tracker.split(":")
    with socket.create_connection((host, int(port))) as connection:
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
    for line in ask(tracker, "WANT " + quote(name)):
        _, _, address = line.split()
        host, port = address.split(":")
        try:
            with socket.create_connection((host, int(port))) as connection:
                connection.sendall(f"GET {quote(name)} OSP2P\n".encode())
                with open(os.path.join(directory, name), "wb") as file:
                    while data := connection.recv(65536):
                        file.write(data)
            print(name, "is here")
            return
        except OSError:
            pass  # the next one


if __name__ == "__main__":
    if len(sys.argv) < 4 or sys.argv[1] not in ("share", "get"):
        sys.exit(f"usage: {sys.argv[0]} share PORT DIR, or {sys.argv[0]} get TRACKER DIR NAME...")
    if sys.argv[1] == "share":
        share(int(sys.argv[2]), sys.argv[3])
    for name in sys.argv[4:]:
        get(sys.argv[2], sys.argv[3], name)
