"""Publishes with Eclipse Paho's Python client, for the benchmark beside this folder:

    paho-python.py PORT COUNT WINDOW

Says `ready` once it is connected, waits for a line, publishes COUNT readings at QoS 1 with at most
WINDOW without acknowledgement, says `done` when all are acknowledged, and stays until its input
ends, so that it can be looked at.
"""

import sys
import threading

import paho.mqtt.client as mqtt

port, count, window = map(int, sys.argv[1:])
connected = threading.Event()
room = threading.Semaphore(window)

client = mqtt.Client(mqtt.CallbackAPIVersion.VERSION2, client_id="paho-python")
client.max_inflight_messages_set(window)
client.on_connect = lambda *_: connected.set()
client.on_publish = lambda *_: room.release()
client.connect("127.0.0.1", port)
client.loop_start()
connected.wait()
print("ready", flush=True)
sys.stdin.readline()

for index in range(count):
    room.acquire()
    payload = (
        f'{{"gateway":"bench","device":"th-{index % 64:04}","name":"value","value":{index},'
        f'"time":"2026-11-20T22:39:00.123Z","n":{index + 1},"seq":{index}}}'
    )
    client.publish("bench/th-0001/value", payload, qos=1)
for _ in range(window):
    room.acquire()
print("done", flush=True)
sys.stdin.readline()
client.loop_stop()
