"""Send a command to the process of ``forking.py``; as a program, ``asking.py SOCKET SCRIPT ...``
sends one.

It imports little, so that it starts at once.
"""

import json
import os
import socket
import sys


def ask(
    address: str,
    command: list[str],
    cwd: str,
    env: dict[str, str],
    streams: list[int],
    python: str = "",
) -> int:
    """Let the process that listens at the socket ``address`` run a command.

    Args:
        command: a script's path and its arguments, or ``-m``, a module and its arguments.
        streams: descriptors of its standard input, output and error.
        python: the program that the command is to take for Python; empty for the real one.

    Returns:
        Its exit code.
    """
    request = {"command": command, "cwd": cwd, "env": env, "python": python}
    with socket.socket(socket.AF_UNIX) as connection:
        connection.connect(address)
        socket.send_fds(connection, [b"\0"], streams)
        with connection.makefile("rw", encoding="utf-8") as text:
            text.write(json.dumps(request) + "\n")
            text.flush()
            answer = text.readline()
    assert answer, f"the process that forks for every command has ended before {command}"
    return int(answer)


if __name__ == "__main__":
    code = ask(sys.argv[1], sys.argv[2:], os.getcwd(), dict(os.environ), [0, 1, 2])
    sys.exit(code if code >= 0 else 128 - code)
