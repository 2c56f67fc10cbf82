"""Receives the datagrams of sd_notify(3) on a Unix socket, and prints each as a JSON string on its own line.

The argument is the name of the socket: a path, or @ and the name of an abstract socket.
"""

import json
import socket
import sys

name = sys.argv[1]
receiver = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
receiver.bind("\0" + name[1:] if name.startswith("@") else name)
print(json.dumps("bound"), flush=True)
while True:
    print(json.dumps(receiver.recv(65536).decode()), flush=True)
