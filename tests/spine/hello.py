"""The first program of a socket tutorial, and a few others like it.

hello.py ask PORT TEXT        connects, sends TEXT without a line feed, and prints the answer
hello.py threads PORT COUNT   as many threads at once: each connects, sends its number, and closes
hello.py silent PORT          connects and closes without a word
hello.py broadcast PORT TEXT  a UDP broadcast
hello.py multicast PORT TEXT GROUP
"""

import socket
import sys
import threading

command, port = sys.argv[1], int(sys.argv[2])
HOST = "127.0.0.1"


def ask(text):
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as s:
        s.connect((HOST, port))
        s.sendall(text.encode())
        data = s.recv(1024)
    print(f"Received {data!r}")


def say(number):
    client = socket.socket()
    client.connect((HOST, port))
    client.send(f"thread {number}".encode())
    client.close()


if command == "ask":
    ask(sys.argv[3])
elif command == "threads":
    threads = [threading.Thread(target=say, args=(n,)) for n in range(int(sys.argv[3]))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
elif command == "silent":
    with socket.create_connection((HOST, port)):
        pass
elif command == "broadcast":
    s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    s.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1)
    s.sendto(sys.argv[3].encode(), ("127.255.255.255", port))
elif command == "multicast":
    s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    s.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_IF, socket.inet_aton("127.0.0.1"))
    s.sendto(sys.argv[3].encode(), (sys.argv[4], port))
